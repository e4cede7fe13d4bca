"""Counts, as wc gives them: tokens, bytes and name of each file (or record), totals, the gate, the price."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from llmkit.errors import visible
from llmkit.formats.documents import Document
from llmkit.formats.json_text import printable
from llmkit.formats.jsonl import encode_line
from llmkit.tokens.compare import Tally, cost
from llmkit.workflows.tokenize.run import Run


@dataclass
class Count:
    """One row: a file, or one record of it."""

    name: str
    tally: Tally = field(default_factory=Tally)
    largest: int = 0
    """Tokens of the largest document in it: what the gate looks at."""
    document: Document | None = None
    """The record, where a row is one record."""


def write_counts(run: Run, names: Iterable[str]) -> None:
    """A row for each file or record as it is done, then a total (not in tsv and jsonl: rows only there).

    Args:
        run: where documents come from and rows go.
        names: the files in order, so that a file without a record has its row of zeros.
    """
    config = run.config
    row_format = config.row_format or "text"
    rows = []
    number = 0
    for count in _per_record(run) if config.per_record else _per_file(run, names):
        number += 1
        if row_format == "json":
            rows.append(_as_object(run, count))
        elif row_format == "jsonl":
            run.emit(encode_line(_as_object(run, count)))
        else:
            run.emit(_as_columns(run, count, row_format))
    total = Count("total", run.totals)
    if row_format == "json":
        report = {"schema": "llmkit.tokenize/1", "rows": rows, "total": _as_object(run, total, named=False)}
        run.emit(encode_line(report))
    elif row_format == "text" and number > 1:
        run.emit(_as_columns(run, total, row_format))


def _per_record(run: Run) -> Iterator[Count]:
    for document, ids in run.pairs():
        count = Count(document.where, document=document)
        _take(run, count, document, len(ids))
        yield count


def _per_file(run: Run, names: Iterable[str]) -> Iterator[Count]:
    """Gather the documents of each file; the same file named twice has two rows."""
    coming = iter(names)
    current: Count | None = None
    line = 0
    for document, ids in run.pairs():
        if current is None or document.file != current.name or document.line <= line:
            if current is not None:
                yield current
            for name in coming:
                if name == document.file:
                    break
                yield Count(name)
            current = Count(document.file)
        line = document.line
        _take(run, current, document, len(ids))
    if current is not None:
        yield current
    for name in coming:
        yield Count(name)


def _take(run: Run, count: Count, document: Document, tokens: int) -> None:
    count.tally.add(document.text, tokens)
    count.largest = max(count.largest, tokens)
    limit = run.config.max_tokens
    if limit is not None and tokens > limit:
        run.failures.append(f"{document.where or '--text'} ({tokens:,})")


def _over(run: Run, count: Count) -> int:
    """Tokens by which the largest document of a row exceeds --max."""
    return max(0, count.largest - (run.config.max_tokens or 0))


def _as_object(run: Run, count: Count, *, named: bool = True) -> dict[str, Any]:
    tally, config = count.tally, run.config
    row: dict[str, Any] = {}
    if count.document is not None:
        row |= {"id": count.document.id, "file": printable(count.document.file), "line": count.document.line}
    elif named:
        row |= {"file": printable(count.name)}
    row |= {"documents": tally.documents, "tokens": tally.tokens, "bytes": tally.bytes}
    if config.prices:
        row["cost"] = cost(tally.tokens, config.prices[0])
    if config.max_tokens is not None and named:
        row["over_tokens"] = _over(run, count)
    return row


def _as_columns(run: Run, count: Count, row_format: str) -> bytes:
    config = run.config
    cells = [str(count.tally.tokens), str(count.tally.bytes)]
    widths = [9, 10]
    if config.prices:
        cells.append(f"{cost(count.tally.tokens, config.prices[0]):.6f}")
        widths.append(12)
    if row_format == "tsv":
        if config.max_tokens is not None:
            cells.append(str(_over(run, count)))
        return "\t".join(cells).encode() + b"\t" + escape_tsv(as_bytes(count.name)) + b"\n"
    columns = " ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    name = b" " + as_bytes(visible(count.name)) if count.name else b""
    over = _over(run, count) if config.max_tokens is not None else 0
    mark = f"  over by {over:,}".encode() if over else b""
    return columns.encode() + name + mark + b"\n"


def escape_tsv(cell: bytes) -> bytes:
    """A cell with its tabs, line feeds and backslashes written as two characters."""
    return cell.replace(b"\\", b"\\\\").replace(b"\t", b"\\t").replace(b"\n", b"\\n")


def as_bytes(text: str) -> bytes:
    """UTF-8, in which a file name has the bytes that it has on the disk."""
    return text.encode(errors="surrogateescape")
