"""Tokens as a result: ids, pieces, offsets, a raw stream, and the token jsonl that pack reads."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from llmkit.errors import UsageError
from llmkit.formats.documents import Document
from llmkit.formats.jsonl import encode_line, raw
from llmkit.formats.token_documents import TokenDocument, TokenIds, encode_token_document
from llmkit.workflows.tokenize.count import as_bytes, escape_tsv
from llmkit.workflows.tokenize.input import is_chat
from llmkit.workflows.tokenize.run import Run


def write_ids(run: Run) -> None:
    """Ids separated by spaces (tabs in tsv), one document a line; or {"id", "tokens"}."""
    separator = "\t" if run.config.row_format == "tsv" else " "
    for document, ids in run.pairs():
        if run.config.row_format == "jsonl":
            run.emit(encode_line({"id": document.id, "tokens": ids.tolist()}))
        else:
            run.emit(separator.join(map(str, ids.tolist())).encode() + b"\n")


def write_pieces(run: Run) -> None:
    """Pieces as the vocabulary stores them, separated by spaces, one document a line.

    tsv has a line for each token: document, number of the token, id, piece as a JSON string.
    """
    for document, ids in run.pairs():
        pieces = [run.tokenizer.token_text(token) for token in ids.tolist()]
        if run.config.row_format == "jsonl":
            run.emit(encode_line({"id": document.id, "pieces": pieces}))
        elif run.config.row_format == "tsv":
            rows = zip(ids.tolist(), map(_quoted, pieces), strict=True)
            run.emit(_table(((number, *row) for number, row in enumerate(rows)), document.id))
        else:
            run.emit(" ".join(pieces).encode() + b"\n")


def write_offsets(run: Run) -> None:
    """A line for each token: id, byte start and end, character start and end, the text as a JSON string.

    tsv puts the document's id first. jsonl has a document a line.
    """
    for document, ids in run.pairs():
        spans = run.spans(document, ids, padded=True)
        if run.config.row_format == "jsonl":
            record = {
                "id": document.id,
                "tokens": ids.tolist(),
                "byte_offsets": spans.bytes.tolist(),
                "char_offsets": spans.chars.tolist(),
            }
            run.emit(encode_line(record))
            continue
        name = document.id if run.config.row_format == "tsv" else None
        rows = zip(ids.tolist(), spans.bytes.tolist(), spans.chars.tolist(), strict=True)
        run.emit(
            _table(
                (
                    (token, *byte_range, *char_range, _quoted(document.text[slice(*char_range)]))
                    for token, byte_range, char_range in rows
                ),
                name,
            )
        )


def write_raw(run: Run) -> None:
    """Nothing but the ids, little-endian, 2 or 4 bytes each: `od -An -tu2`, `np.fromfile(f, '<u2')`.

    Raises:
        UsageError: the vocabulary does not fit 2 bytes.
    """
    size = run.tokenizer.vocab_size
    if run.config.raw_type == "u2" and size > 1 << 16:
        raise UsageError(f"{size:,} ids do not fit 2 bytes", hint="--raw u4")
    for _, ids in run.pairs():
        run.emit(ids.astype(np.dtype(f"<{run.config.raw_type}")).tobytes())


def write_token_documents(run: Run) -> None:
    """Token jsonl: the record without its text (unless --keep-text), and `tokens`."""
    for document, ids in run.pairs():
        run.emit(encode_token_document(token_document(run, document, ids)))


def token_document(run: Run, document: Document, ids: TokenIds) -> TokenDocument:
    """A document's ids with the fields of its record that are to pass through."""
    field = run.config.field
    encoded = "messages" if is_chat(document, field) else field
    record = dict(document.record)
    if not run.config.keep_text:
        record.pop(encoded, None)
    elif encoded not in record:  # a plain file has no record
        record[encoded] = raw(document.text)
    return TokenDocument(document.id, ids, None, document.where, record)


def _quoted(text: str) -> str:
    """A JSON string: no tab or line feed, so that a row stays a row."""
    return json.dumps(text, ensure_ascii=False)


def _table(rows: Iterator[tuple[Any, ...]], name: str | None) -> bytes:
    """Rows of cells, each after the name of its document where there is one."""
    first = b"" if name is None else escape_tsv(as_bytes(name)) + b"\t"
    return b"".join(first + "\t".join(map(str, row)).encode() + b"\n" for row in rows)
