"""What `llmkit dedup` found, in numbers."""

from collections.abc import Iterable
from typing import Any

import msgspec

from llmkit.formats.amount_text import plural
from llmkit.workflows.dedup.options import PIECES, DedupConfig
from llmkit.workflows.dedup.write import Tally

MANY = 0.5
"""The share of removed documents from which a warning is given."""


class DedupReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report. Documents and bytes of text: in = kept + removed."""

    schema: str = "llmkit.dedup/1"
    by: str
    out: str
    documents: int
    kept_documents: int
    removed_documents: int
    tagged_documents: int
    edited_documents: int
    """Kept with paragraphs, lines or spans taken out."""
    removed_pieces: int
    input_bytes: int
    kept_bytes: int
    removed_bytes: int
    bad_lines: int
    index_documents: int
    clusters: int
    cluster_sizes: dict[str, int]
    """How many clusters have so many documents; empty where nobody counted."""
    removed_by_source: dict[str, dict[str, int]]
    """Of each source, how many were dropped for a document of which."""
    without_key: int
    candidates: int | None
    """Pairs that share a band."""
    missed_about: float | None
    """Duplicates that the bands are expected to have missed, from the similarities of those found."""
    below: int | None
    """Dropped though less similar to what is kept than the threshold: --transitive."""
    similarity: float | None
    bands: int | None
    rows: int | None
    warnings: list[str]
    seconds: float

    @property
    def share(self) -> float:
        """Of the documents that are duplicates, removed or tagged."""
        return (self.removed_documents + self.tagged_documents) / max(1, self.documents)


def make_report(
    config: DedupConfig,
    tally: Tally,
    found: dict[str, Any],
    *,
    out: str,
    seconds: float,
) -> DedupReport:
    """The report of a run.

    Args:
        config: what was asked for.
        tally: of all units.
        found: the facts of `choose_unit`, as far as there are.
        out: where documents went.
        seconds: that it took.
    """
    is_near = config.by == "near"
    by_source: dict[str, dict[str, int]] = {}
    for own, kept, count in found.get("by_source", []):
        by_source.setdefault(own, {})[kept] = count
    return DedupReport(
        by=config.by,
        out=out,
        documents=tally.documents,
        kept_documents=tally.kept,
        removed_documents=tally.removed,
        tagged_documents=tally.tagged,
        edited_documents=tally.edited,
        removed_pieces=tally.pieces,
        input_bytes=tally.bytes,
        kept_bytes=tally.kept_bytes,
        removed_bytes=tally.removed_bytes,
        bad_lines=tally.bad_lines,
        index_documents=found.get("index_documents", 0),
        clusters=found.get("clusters", 0),
        cluster_sizes=found.get("sizes", {}),
        removed_by_source=by_source,
        without_key=found.get("without_key", 0),
        candidates=found.get("candidates"),
        missed_about=found.get("missed"),
        below=found.get("below"),
        similarity=config.similarity if is_near else None,
        bands=config.bands if is_near else None,
        rows=config.rows if is_near else None,
        warnings=_warnings(config, tally, found),
        seconds=round(seconds, 3),
    )


def sum_tallies(reports: Iterable[dict[str, Any]]) -> Tally:
    """The counts of all units as one."""
    total = Tally()
    for report in reports:
        total.add(msgspec.convert(report, Tally))
    return total


def _warnings(config: DedupConfig, tally: Tally, found: dict[str, Any]) -> list[str]:
    warnings = []
    gone = tally.removed + tally.tagged
    if tally.documents > 1 and not (gone or tally.edited):
        what = f"the key {config.key}" if config.by == "exact" else f"--by {config.by}"
        warnings.append(f"no duplicate was found by {what} in {plural(tally.documents, 'document')}")
    share = gone / max(1, tally.documents)
    if share > MANY and config.by not in PIECES:
        warnings.append(f"{share:.0%} of the documents are duplicates: check that this is meant")
    if config.by in PIECES and tally.removed_bytes > MANY * max(1, tally.bytes):
        warnings.append(f"{tally.removed_bytes / tally.bytes:.0%} of the text was there before: check it")
    without = found.get("without_key", 0)
    if without:
        warnings.append(f"{plural(without, 'document')} without {config.key}: kept")
    if tally.documents:
        warnings += [f"--prefer {key}: no document has it" for key in found.get("had_by_none", [])]
    return warnings
