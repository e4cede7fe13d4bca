"""The text that `llmkit inspect-attention` looks at, as ids: words, a file, a conversation, a probe."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.documents import Document, names_file, read_documents
from llmkit.formats.jsonl import Line, decode_field, record_id
from llmkit.formats.not_utf8 import is_utf8
from llmkit.formats.streams import STDIO
from llmkit.probe.attention.patterns import repeated_random_ids
from llmkit.workflows.inspect_attention.config import InspectText
from llmkit.workflows.inspect_attention.open import Inspected
from llmkit.workflows.inspect_attention.report import TokenRow
from llmkit.workflows.show.token import token_label
from llmkit.workflows.tokenize.input import MESSAGES, text_reader

TOKENS = "tokens"
_PROBE_TOKENS = 50


@dataclass(frozen=True)
class Reading:
    """A text as the model reads it."""

    ids: Tensor
    """(T,) int64, where the model is."""
    tokens: list[TokenRow]
    source: str
    repeated: int | None = None
    """Of the probe: how many random tokens come twice."""


def read_text(opened: Inspected, text: InspectText) -> Reading:
    """The ids, what they stand for, and where they come from.

    Raises:
        MissingError: no such file or record.
        DataError: no text at all, a damaged record, a chat that the template refuses, ids that the model
            does not have.
        UsageError: nothing to read, or more tokens than the model has positions.
    """
    config = opened.job.model
    repeated = None
    if text.probe is not None:
        bos, generator = opened.tokenizer.bos_id, torch.Generator().manual_seed(text.seed)
        repeated = text.probe_tokens or min(_PROBE_TOKENS, (config.max_position_embeddings - 1) // 2)
        drawn = repeated_random_ids(config.vocab_size, repeated, generator, bos=bos)
        ids, source = drawn.tolist(), f"probe {text.probe}"
    elif text.tokens is not None:
        ids, source = list(text.tokens), "tokens"
    else:
        ids, source = _encoded(opened, text)
    if text.max_tokens is not None:
        ids = ids[: text.max_tokens]
    _check(ids, source, config.vocab_size, config.max_position_embeddings)
    tokens = [
        TokenRow(position=place, id=one, text=token_label(opened.tokenizer, one))
        for place, one in enumerate(ids)
    ]
    device = opened.model.model.embed_tokens.weight.device
    return Reading(torch.tensor(ids, device=device), tokens, source, repeated)


def _encoded(opened: Inspected, text: InspectText) -> tuple[list[int], str]:
    assert text.given is not None
    if not names_file(text.given, is_words=text.is_words):
        if not is_utf8(text.given):
            raise UsageError(
                "the text is not UTF-8", hint="give it in a file: llmkit inspect-attention MODEL FILE"
            )
        return opened.encoder.encode(text.given), "text"
    document = _document(opened, text)
    record = document.record
    if TOKENS in record and text.field not in record:
        return decode_field(_line(document), TOKENS, list[int]), document.where
    if MESSAGES in record and text.field not in record:
        return opened.encoder.encode_rendered(document.text), document.where
    return opened.encoder.encode(document.text), document.where


def _document(opened: Inspected, text: InspectText) -> Document:
    """The record that was asked for, or the first; the others are passed over whatever they hold."""
    number = 0

    def document_from(line: Line, field: str) -> Document:
        nonlocal number
        number += 1
        identity = record_id(line) or ""
        chosen = text.record in (None, str(number), identity)
        words = _words(opened, line, field) if chosen else ""
        return Document(identity, words, line.file, line.number, line.record)

    documents = read_documents([Path(text.given or "")], text_field=text.field, document_from=document_from)
    for document in documents:
        number = number if document.line else 1  # a plain file
        if text.record in (None, str(number), document.id):
            return document
    name = "stdin" if text.given == str(STDIO) else text.given
    if text.record is None:
        raise DataError(f"{name}: no text in it", hint="give words, or a file that has some")
    raise MissingError(
        f"{name}: no record {text.record} (found {number})", hint="--record takes a number from 1, or an id"
    )


def _words(opened: Inspected, line: Line, field: str) -> str:
    """The text of a record: its own, or a conversation's; none where it holds ids."""
    if field in line.record:
        return str(decode_field(line, field, str))
    if MESSAGES in line.record:
        return _rendered(opened, line)
    if TOKENS in line.record:
        return ""
    raise DataError(
        f"{line.where}: no {field!r}, {MESSAGES!r} or {TOKENS!r} (found: {', '.join(line.record)})",
        hint="--field names the key of the text",
    )


def _rendered(opened: Inspected, line: Line) -> str:
    """A conversation; after what a user says, the opening of the answer."""
    messages = decode_field(line, MESSAGES, list[dict])  # type: ignore[type-arg]
    answered = bool(messages) and messages[-1].get("role") == "assistant"
    return text_reader(opened.tokenizer, generation_prompt=not answered)(line, MESSAGES).text


def _line(document: Document) -> Line:
    return Line(document.record, document.file, document.line)


def _check(ids: list[int], source: str, vocab_size: int, positions: int) -> None:
    if not ids:
        raise UsageError(f"{source}: no tokens in it", hint="give a text of one token or more")
    wrong = next((one for one in ids if not 0 <= one < vocab_size), None)
    if wrong is not None:
        raise DataError(
            f"{source}: token {wrong} is none of the model's {vocab_size:,}",
            hint="ids and model belong together",
        )
    if len(ids) > positions:
        raise UsageError(
            f"{source}: {len(ids):,} tokens, the model has {positions:,} positions",
            hint=f"--max-tokens {positions} (of a probe --probe-tokens), or --rope-scaling yarn:2",
        )
