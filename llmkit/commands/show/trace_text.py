"""What became of a document, as text for people: a heading for each path, a line for each thing known."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from llmkit.commands.facts import visible
from llmkit.commands.show.shards_text import trace_text as shards_trace
from llmkit.commands.values import format_bytes
from llmkit.formats.amount_text import plural
from llmkit.workflows.show.rows import TraceReport
from llmkit.workflows.show.trace import Found, Sighting


def trace_text(found: Sequence[Found]) -> str:
    """Everything that was found; rows of shards alone without a heading."""
    rows = [one for one in found if isinstance(one, TraceReport)]
    if len(rows) == len(found) and len({one.path for one in found}) == 1:
        return shards_trace(rows)
    lines: list[str] = []
    for path, group in groupby(found, lambda one: one.path):
        lines += [*([""] if lines else []), visible(path)]
        for one in group:
            text = shards_trace([one]).splitlines() if isinstance(one, TraceReport) else _sighting(one)
            lines += [f"  {line}" for line in text]
    return "\n".join(lines)


def _sighting(one: Sighting) -> Iterator[str]:
    where = f"{one.file}:{one.line}" if one.line else one.file
    what = {"itself": "", "chunk": "a chunk of it: ", "duplicate": "dropped for it: "}
    about = [
        *([format_bytes(one.text_bytes)] if one.text_bytes is not None else []),
        *([f"sha256 {one.text_sha256[:12]}"] if one.text_sha256 else []),
        *([plural(one.tokens, "token")] if one.tokens is not None else []),
        *([f"source {one.source}"] if one.source else []),
        f"licence {one.license or 'unknown'}",
        *([f"epoch {one.epoch}"] if one.epoch else []),
    ]
    yield visible(f"{what[one.relation]}{one.id!r} at {where}: {', '.join(about)}")
    for entry in one.history:
        yield visible(f"  {_entry(entry)}")
    if one.reject is not None:
        yield visible(f"  rejected by {_entry(one.reject)}")


def _entry(entry: Any) -> str:
    """A stage and what it said, without what the line says already."""
    if not isinstance(entry, dict):
        return str(entry)
    facts = [
        f"{key} {_plain(value)}"
        for key, value in entry.items()
        if key not in ("stage", "file", "line") and value is not None
    ]
    return ": ".join(filter(None, (str(entry.get("stage", "?")), ", ".join(facts))))


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {number}" for key, number in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
