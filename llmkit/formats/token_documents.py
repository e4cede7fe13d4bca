"""Token documents: `{"id", "tokens": [int, …], "mask"?: [[start, length], …]}` ; other keys pass on."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError
from llmkit.formats.amount_text import plural
from llmkit.formats.jsonl import (
    Line,
    Record,
    decode_field,
    encode_line,
    raw,
    record_id,
    with_id,
)

TokenIds = NDArray[np.uint32]


@dataclass(frozen=True)
class TokenDocument:
    """The ids of one document. `mask` lists the runs (start, length) that carry loss; None: all of them."""

    id: str
    tokens: TokenIds
    mask: list[tuple[int, int]] | None = None
    where: str = ""
    record: Record = field(default_factory=dict)


def encode_token_document(document: TokenDocument) -> bytes:
    """One line of the wire format: `id` as the record wrote it, the other keys, `tokens` and `mask`."""
    record = {
        "id": raw(document.id),
        **with_id(document.record, document.id),
        "tokens": raw(document.tokens.tolist()),
    }
    if document.mask is not None:
        record["mask"] = raw(document.mask)
    return encode_line(record)


def token_document(line: Line) -> TokenDocument:
    """The token document in a jsonl record.

    Raises:
        DataError: no `tokens`, a negative id, or a mask run outside the document.
    """
    if "tokens" not in line.record and "text" in line.record:
        raise DataError(
            f'{line.where}: no "tokens" field (found: {", ".join(line.record)})',
            hint=f"llmkit tokenize -t TOKENIZER --jsonl {line.file} | llmkit pack -o shards",
        )
    ids = decode_field(line, "tokens", list[int])
    if ids and not 0 <= min(ids) <= max(ids) < 1 << 32:
        raise DataError(
            f"{line.where}: a token id outside 0 … 2^32-1", hint="ids are what llmkit tokenize writes"
        )
    tokens = np.array(ids, dtype=np.uint32)
    mask = decode_field(line, "mask", list[tuple[int, int]]) if "mask" in line.record else None
    if mask and not all(start >= 0 and length >= 0 and start + length <= len(ids) for start, length in mask):
        raise DataError(
            f"{line.where}: a mask run lies outside its {plural(len(ids), 'token')}",
            hint="runs are [start, length]",
        )
    record = {key: value for key, value in line.record.items() if key not in ("tokens", "mask")}
    return TokenDocument(record_id(line) or line.where, tokens, mask, line.where, record)
