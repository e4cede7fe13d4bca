"""The report of a `clean`: per rule what came, what stayed and what went, the values it saw, and examples."""

from collections.abc import Sequence

import msgspec

from llmkit.text.rule import Check
from llmkit.workflows.clean.tally import Count, Sample, Tally, quantiles_of


class RuleRow(msgspec.Struct, frozen=True):
    """One check: documents that came to it, those it dropped and those it let through."""

    rule: str
    meaning: str
    low: float | None
    high: float | None
    documents: int
    bytes: int
    dropped_documents: int
    dropped_bytes: int
    kept_documents: int
    kept_bytes: int
    values: dict[str, float]
    samples: list[Sample]


class EditRow(msgspec.Struct, frozen=True):
    """One kind of repair: documents that were edited, and how many edits that were."""

    edit: str
    documents: int
    bytes: int
    edits: int
    samples: list[Sample]


class CleanReport(msgspec.Struct, frozen=True):
    """What went in and what became of it. Bytes are of the input lines unless the name says otherwise."""

    mode: str
    documents: int
    bytes: int
    kept_documents: int
    kept_bytes: int
    rejected_documents: int
    rejected_bytes: int
    malformed_documents: int
    """Of the rejected: no JSON, or no text."""
    malformed_bytes: int
    changed_documents: int
    written_bytes: int
    """Of the kept documents as they are now."""
    rules: list[RuleRow]
    edits: list[EditRow]
    unfinished: bool = False
    """Other shards are missing: this is what one shard did."""
    schema: str = "llmkit.clean/1"


def build_report(
    tally: Tally, checks: Sequence[Check], mode: str, *, unfinished: bool = False
) -> CleanReport:
    """The report of what was counted.

    Args:
        tally: all counts.
        checks: of the steps, in the order in which they ran.
        mode: in `drop` each check sees what those before it let through; in `tag` each sees every document.
        unfinished: there are shards besides.
    """
    rows = []
    documents = tally.documents - tally.malformed
    size = tally.bytes - tally.malformed_bytes
    by_name = {check.name: check for check in checks}
    for name in [*by_name, *(name for name in tally.dropped if name not in by_name)]:
        check = by_name.get(name) or Check(name, "")
        count = tally.dropped.get(name) or Count()
        rows.append(
            RuleRow(
                rule=name,
                meaning=check.meaning,
                low=check.low,
                high=check.high,
                documents=documents,
                bytes=size,
                dropped_documents=count.documents,
                dropped_bytes=count.bytes,
                kept_documents=documents - count.documents,
                kept_bytes=size - count.bytes,
                values=quantiles_of(tally.values.get(name, {})),
                samples=count.samples,
            )
        )
        if mode == "drop":
            documents -= count.documents
            size -= count.bytes
    edits = [
        EditRow(name, count.documents, count.bytes, tally.edit_counts.get(name, 0), count.samples)
        for name, count in tally.edits.items()
    ]
    return CleanReport(
        mode=mode,
        documents=tally.documents,
        bytes=tally.bytes,
        kept_documents=tally.kept,
        kept_bytes=tally.kept_bytes,
        rejected_documents=tally.documents - tally.kept,
        rejected_bytes=tally.bytes - tally.kept_bytes,
        malformed_documents=tally.malformed,
        malformed_bytes=tally.malformed_bytes,
        changed_documents=tally.changed,
        written_bytes=tally.written_bytes,
        rules=rows,
        edits=sorted(edits, key=lambda row: row.edit),
        unfinished=unfinished,
    )
