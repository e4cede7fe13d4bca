"""Texts as a result: truncated, in chunks, or checked against their own decoding."""

from functools import partial
from typing import Any

from llmkit.formats.documents import Document
from llmkit.formats.json_text import printable
from llmkit.formats.jsonl import encode_line, with_id
from llmkit.tokens.chunk import chunks, truncate
from llmkit.tokens.roundtrip import first_difference
from llmkit.workflows.tokenize.count import as_bytes, escape_tsv
from llmkit.workflows.tokenize.input import MESSAGES, is_chat
from llmkit.workflows.tokenize.run import Run


def write_truncated(run: Run) -> None:
    """Each document with at most `limit` tokens: a jsonl record as a record, a plain file as plain text."""
    config = run.config
    for document, ids in run.pairs():
        text = document.text
        if len(ids) > config.limit:
            spans = run.spans(document, ids)
            room = config.limit - config.bos - config.eos
            text = truncate(text, spans, room, config.keep, partial(_inner, run, document))
        if config.row_format == "jsonl" or (config.row_format is None and document.record):
            run.emit(encode_line(_with_text(run, document, text)))
        else:
            run.emit(text.encode())


def write_chunks(run: Run) -> None:
    """Documents of at most `limit` tokens: the record's fields, an id PARENT#N, and where the chunk was."""
    config = run.config
    room = config.limit - config.bos - config.eos
    for document, ids in run.pairs():
        spans = run.spans(document, ids)
        pieces = chunks(document.text, spans, room, config.overlap, partial(_inner, run, document))
        for number, chunk in enumerate(pieces):
            text = document.text[chunk.start : chunk.end]
            record = {
                **_with_text(run, document, text),
                "id": f"{document.id}#{number}",
                "parent": with_id(document.record, document.id)["id"],
                "chunk": number,
                "chars": [chunk.start, chunk.end],
                "num_tokens": chunk.tokens + config.bos + config.eos,
            }
            run.emit(encode_line(record))


def write_check(run: Run) -> None:
    """A line for each document that decoding does not give back: where it first differs, and how."""
    rows = []
    for document, ids in run.pairs():
        difference = first_difference(document.text, run.tokenizer.decode(ids.tolist()))
        if difference is None:
            continue
        name = document.where or "--text"
        run.failures.append(f"{name} (byte {difference.byte:,})")
        row = {"id": document.id, "where": printable(name), "byte": difference.byte, "line": difference.line}
        row |= {"expected": difference.expected, "found": difference.found}
        match run.config.row_format:
            case "json":
                rows.append(row)
            case "jsonl":
                run.emit(encode_line(row))
            case "tsv":
                cells = [name, str(difference.byte), difference.expected, difference.found]
                run.emit(b"\t".join(escape_tsv(as_bytes(cell)) for cell in cells) + b"\n")
            case _:
                run.emit(as_bytes(_sentence(name, row)) + b"\n")
    if run.config.row_format == "json":
        totals = {"documents": run.totals.documents, "tokens": run.totals.tokens, "bytes": run.totals.bytes}
        run.emit(encode_line({"schema": "llmkit.tokenize/1", "differences": rows, "total": totals}))


def _sentence(name: str, row: dict[str, Any]) -> str:
    expected, found = (
        f'"{_on_a_line(row[side])}"' if row[side] else "the end" for side in ("expected", "found")
    )
    return f"{name}: byte {row['byte']} (line {row['line']}): expected {expected}, found {found}"


def _on_a_line(text: str) -> str:
    """Line feeds and escapes of the text's own as they are written in code."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _with_text(run: Run, document: Document, text: str) -> dict[str, Any]:
    """The document's record with another text; a chat's text takes the place of its messages."""
    field = "text" if is_chat(document, run.config.field) else run.config.field
    record = {"id": document.id, **with_id(document.record, document.id), field: text}
    if is_chat(document, run.config.field):
        del record[MESSAGES]
    return record


def _inner(run: Run, document: Document, text: str) -> int:
    """Tokens of a part of a document, bos and eos left out."""
    return run.count(document, text) - run.config.bos - run.config.eos
