"""Data files: every line a record, every text UTF-8, nothing empty."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from llmkit.formats.jsonl import BadLine, Line, read_records
from llmkit.workflows.artefact import corpus_parts
from llmkit.workflows.doctor.findings import Finding, as_finding, finding
from llmkit.workflows.show.records import show_records, show_text

SHOWN = 3
"""Malformed lines that have a finding of their own; the rest are counted."""
_EMPTY = {"text": b'""', "tokens": b"[]", "messages": b"[]"}


def check_text(path: Path) -> list[Finding]:
    """A plain text file."""
    findings: list[Finding] = []
    with as_finding(findings, "data.utf8", path):
        if not show_text(path).lines:
            findings.append(
                finding("warning", "data.empty", path, "nothing in it", "leave it out of the inputs")
            )
    return findings


def check_records(path: Path) -> tuple[list[Finding], int | None]:
    """A file of JSON lines, or a folder of parts: what is wrong with it, and the highest token id in it."""
    bad: list[BadLine] = []
    bad_lines, empty, highest = 0, 0, None

    def keep(line: BadLine) -> None:
        nonlocal bad_lines
        bad_lines += 1
        if len(bad) < SHOWN:
            bad.append(line)

    def lines() -> Iterator[Line]:
        nonlocal empty
        files = corpus_parts(path) or [path]
        for line in chain.from_iterable(read_records(file, on_bad=keep) for file in files):
            empty += any(bytes(line.record.get(key, b"")) == nothing for key, nothing in _EMPTY.items())
            yield line

    findings: list[Finding] = []
    with as_finding(findings, "data.fields", path):
        found = lines()
        first = next(found, None)
        if first is not None or not bad_lines:  # malformed lines alone are told below
            records = chain(() if first is None else (first,), found)
            highest = show_records(path, records).highest_token_id
    for line in bad:
        hint = "mend the line, or pass over bad lines with --skip-bad"
        findings.append(finding("error", "data.line", f"{line.file}:{line.number}", line.problem, hint))
    if bad_lines > len(bad):
        what = f"{bad_lines - len(bad)} more malformed lines"
        findings.append(finding("error", "data.line", path, what, "pass over bad lines with --skip-bad"))
    if empty:
        findings.append(finding("warning", "data.empty", path, f"{empty} empty records", "leave them out"))
    return findings, highest
