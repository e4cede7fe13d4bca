"""Several tokenizers on the same texts: tokens, bytes per token, fertility and cost of each group."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from llmkit.formats.documents import Document, in_batches
from llmkit.formats.json_text import printable
from llmkit.formats.jsonl import MALFORMED, encode_line
from llmkit.tokens.compare import Tally, cost
from llmkit.tokens.encode import EncodeOptions, encode_pairs
from llmkit.tokens.tokenizer import TOKENIZER, Tokenizer
from llmkit.workflows.tokenize.count import as_bytes, escape_tsv
from llmkit.workflows.tokenize.run import Run

BATCH_CHARACTERS = 4 << 20
HEADER = ("group", "tokenizer", "tokens", "bytes", "bytes/token", "tokens/word", "ratio")


def write_comparison(run: Run, others: list[tuple[str, Tokenizer]], first_name: str) -> None:
    """A row for each group and tokenizer, then all groups together.

    Args:
        run: its tokenizer is the first, which the ratios refer to.
        others: further tokenizers and what to call them.
        first_name: what to call the first.
    """
    tokenizers = [(first_name, run.tokenizer), *others]
    tallies: dict[str, list[Tally]] = {}
    for documents in in_batches(run.documents, BATCH_CHARACTERS):  # for each tokenizer
        for number, (_, tokenizer) in enumerate(tokenizers):
            options = EncodeOptions(special=run.reads_special, threads=run.config.threads)
            for document, ids in encode_pairs(tokenizer, documents, options):
                group = tallies.setdefault(group_of(document, run.config.by), [Tally() for _ in tokenizers])
                group[number].add(document.text, len(ids))
                if number == 0:
                    run.totals.add(document.text, len(ids))
                    run.show_progress()
    rows = [row for name, group in tallies.items() for row in _rows(run, name, group, tokenizers)]
    total = _rows(run, "total", _sum(tallies, len(tokenizers)), tokenizers)
    as_json = [{**row, "group": printable(row["group"])} for row in rows]
    match run.config.row_format:
        case "json":
            run.emit(encode_line({"schema": "llmkit.tokenize/1", "rows": as_json, "total": total}))
        case "jsonl":
            for row in as_json:
                run.emit(encode_line(row))
        case "tsv":
            for row in rows:
                run.emit(b"\t".join(escape_tsv(as_bytes(_cell(value))) for value in row.values()) + b"\n")
        case _:
            run.emit(as_bytes(_table([*rows, *total] if len(tallies) > 1 else rows)))


def group_of(document: Document, by: str) -> str:
    """The group of a document: its file, or what its record has at a key such as `metadata.lang`."""
    if by == "file":
        return document.file or "--text"
    value: Any = document.record
    for key in by.split("."):
        value = _decoded(value, key)
    return "(none)" if value is None else value if isinstance(value, str) else str(value)


def _decoded(value: Any, key: str) -> Any:
    found = value.get(key) if isinstance(value, dict) else None
    try:
        return msgspec.json.decode(found) if isinstance(found, msgspec.Raw) else found
    except MALFORMED:
        return None


def _rows(
    run: Run, group: str, tallies: list[Tally], tokenizers: list[tuple[str, Tokenizer]]
) -> list[dict[str, Any]]:
    prices = run.config.prices
    rows = []
    for number, (tally, (name, _)) in enumerate(zip(tallies, tokenizers, strict=True)):
        row: dict[str, Any] = {
            "group": group,
            "tokenizer": name,
            "tokens": tally.tokens,
            "bytes": tally.bytes,
            "bytes_per_token": tally.bytes_per_token,
            "tokens_per_word": tally.tokens_per_word,
            "ratio": tally.tokens / tallies[0].tokens if tallies[0].tokens else None,
        }
        if prices:
            row["cost"] = cost(tally.tokens, prices[number if len(prices) > 1 else 0])
        rows.append(row)
    return rows


def _sum(tallies: dict[str, list[Tally]], count: int) -> list[Tally]:
    totals = [Tally() for _ in range(count)]
    for group in tallies.values():
        for total, tally in zip(totals, group, strict=True):
            total.documents += tally.documents
            total.tokens += tally.tokens
            total.bytes += tally.bytes
            total.words += tally.words
    return totals


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(rows: list[dict[str, Any]]) -> str:
    """Aligned columns under a header, names to the left and figures to the right."""
    if not rows:
        return ""
    header = [*HEADER, "cost"][: len(rows[0])]
    cells = [header, *([_shown(key, value) for key, value in row.items()] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return "".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        + "\n"
        for row in cells
    )


def _shown(key: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6f}" if key == "cost" else f"{value:.3f}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def names_of(paths: Sequence[Path]) -> list[str]:
    """What to call some tokenizers in a table: their names, or their paths where two have one name."""
    names = [name_of(path) for path in paths]
    return [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]


def name_of(path: Path) -> str:
    """What to call a tokenizer in a table: its folder's or file's name."""
    folder = path.parent if path.name == TOKENIZER else path
    return folder.name if folder.name not in ("", "..") else folder.resolve().name
