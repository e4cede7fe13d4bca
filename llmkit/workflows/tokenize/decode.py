"""Ids back to text: lines of numbers, token jsonl, or a raw stream."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from llmkit.errors import DataError
from llmkit.formats.jsonl import OnBad, Record, encode_line, parse_line, parse_lines, raw
from llmkit.formats.streams import input_name, open_input
from llmkit.formats.token_documents import token_document
from llmkit.tokens.config import TokenizeConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.tokenize.run import Run


@dataclass(frozen=True)
class Ids:
    """One line of ids, and the other fields of the record it came from; None: it was no record."""

    ids: list[int]
    where: str
    record: Record | None


def decode_lines(run: Run, inputs: Iterable[Path], *, raw_input: bool, on_bad: OnBad | None) -> None:
    """Decode every line. Text comes out exactly, with nothing between documents; a record stays a record."""
    tokenizer, config = run.tokenizer, run.config
    for item in _read(inputs, config, raw_input=raw_input, on_bad=on_bad):
        unknown = next((token for token in item.ids if not 0 <= token < tokenizer.vocab_size), None)
        if unknown is not None:
            raise DataError(
                f"{item.where}: no token {unknown} in this tokenizer (found {tokenizer.vocab_size:,} ids)",
                hint="name the tokenizer that made these ids with -t",
            )
        content = exact_bytes(tokenizer, item.ids)
        run.totals.documents += 1
        run.totals.tokens += len(item.ids)
        run.totals.bytes += len(content)
        run.show_progress()
        if config.row_format == "jsonl" or (config.row_format is None and item.record is not None):
            text = raw(_as_text(content, item.where))
            run.emit(encode_line({**(item.record or {}), config.field: text}))
        else:
            run.emit(content)


def exact_bytes(tokenizer: Tokenizer, ids: list[int]) -> bytes:
    """The text of some ids in UTF-8; where they end inside a character, the bytes as they are."""
    text = tokenizer.decode(ids)
    if "\ufffd" not in text:
        return text.encode()
    content = b"".join(map(tokenizer.token_bytes, ids))
    surplus = _spaces(content) - _spaces(text.encode())  # SentencePiece's own, which decoding leaves out
    return content[max(0, surplus) :]


def _spaces(content: bytes) -> int:
    """How many spaces it begins with."""
    return len(content) - len(content.lstrip(b" "))


def _as_text(content: bytes, where: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: the ids stop inside a character (byte {error.start} of their text)",
            hint="--decode --format text writes the bytes as they are",
        ) from None


def _read(
    inputs: Iterable[Path], config: TokenizeConfig, *, raw_input: bool, on_bad: OnBad | None
) -> Iterator[Ids]:
    for path in inputs:
        name = input_name(path)
        with open_input(path) as stream:
            if raw_input:
                yield Ids(_raw_ids(stream, name, config.raw_type), name, None)
            else:
                yield from parse_lines(stream, name, _parse, on_bad)


def _raw_ids(stream: BinaryIO, name: str, raw_type: str) -> list[int]:
    content = stream.read()
    dtype = np.dtype(f"<{raw_type}")
    if len(content) % dtype.itemsize:
        raise DataError(
            f"{name}: {len(content)} bytes are no whole number of {dtype.itemsize}-byte ids",
            hint="--raw u2 or --raw u4, as it was written",
        )
    return [int(token) for token in np.frombuffer(content, dtype)]


def _parse(content: bytes, name: str, number: int) -> Ids:
    """Ids as a JSON object with `tokens`, a JSON list, or numbers between spaces or commas."""
    where = f"{name}:{number}"
    if content.lstrip().startswith(b"{"):
        document = token_document(parse_line(content, name, number))
        return Ids(document.tokens.tolist(), where, document.record)
    try:
        text = content.strip()
        ids = msgspec.json.decode(text, type=list[int]) if text.startswith(b"[") else None
        return Ids(list(map(int, text.replace(b",", b" ").split())) if ids is None else ids, where, None)
    except (ValueError, RecursionError):  # msgspec's errors are of the first kind
        shown = content.strip()[:40].decode(errors="replace")
        raise DataError(
            f"{where}: not ids (found: {shown})", hint='numbers, or {"tokens": [...]}; text needs no --decode'
        ) from None
