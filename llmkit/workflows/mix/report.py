"""What a mixture was to be and what it has become, in numbers."""

from collections import defaultdict

import msgspec

from llmkit.workflows.mix.choose import Chosen, SourceFacts
from llmkit.workflows.mix.options import Measure, MixSettings

MANY_EPOCHS = 4.0
"""From where reading the same text again teaches much less than new text (2305.16264)."""


class SourceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One source: what was there, what it was to give, what it gave. Sizes are in the unit of the mixture."""

    name: str
    path: str
    share: float
    """Of the mixture, that its weight asks for."""
    achieved_share: float
    documents: int
    size: int
    refused_documents: int
    bad_lines: int
    target: float
    achieved: int
    epochs: float
    written_documents: int
    written_bytes: int
    dry: bool


class LicenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """What stands under one licence in the mixture."""

    licence: str
    documents: int
    size: int
    share: float
    sources: list[str]


class MixReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report. Every document is taken (once or more often), not taken, refused, or malformed."""

    schema: str = "llmkit.mix/1"
    by: Measure
    out: str | None
    """None: nothing was written."""
    seed: int
    target: float
    achieved: int
    documents: int
    """Written."""
    bytes: int
    """Of text written."""
    parts: int
    sources: list[SourceRow]
    licences: list[LicenceRow]
    dry: list[str]
    """Sources that could not give what their weight asks for."""
    warnings: list[str]
    seconds: float


def make_report(settings: MixSettings, chosen: Chosen, *, out: str | None, seconds: float) -> MixReport:
    """The report of what was chosen."""
    achieved = sum(source.achieved for source in chosen.sources)
    rows = [
        SourceRow(
            name=facts.name,
            path=source.path,
            share=facts.share,
            achieved_share=facts.achieved / max(1, achieved),
            documents=facts.documents,
            size=facts.size,
            refused_documents=facts.refused_documents,
            bad_lines=facts.bad_lines,
            target=facts.wanted,
            achieved=facts.achieved,
            epochs=facts.epochs,
            written_documents=facts.taken_documents,
            written_bytes=facts.taken_bytes,
            dry=facts.is_dry,
        )
        for source, facts in zip(settings.sources, chosen.sources, strict=True)
    ]
    return MixReport(
        by=settings.by,
        out=out,
        seed=settings.seed,
        target=sum(row.target for row in rows),
        achieved=achieved,
        documents=sum(row.written_documents for row in rows),
        bytes=sum(row.written_bytes for row in rows),
        parts=len(chosen.parts) - 1,
        sources=rows,
        licences=_licences(chosen.sources, achieved),
        dry=[row.name for row in rows if row.dry],
        warnings=_warnings(rows, settings),
        seconds=seconds,
    )


def _licences(sources: tuple[SourceFacts, ...], achieved: int) -> list[LicenceRow]:
    """The largest first."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    names: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        for licence, (documents, size) in source.licences.items():
            counts[licence][0] += documents
            counts[licence][1] += size
            names[licence].append(source.name)
    rows = [
        LicenceRow(
            licence=licence,
            documents=documents,
            size=size,
            share=size / max(1, achieved),
            sources=names[licence],
        )
        for licence, (documents, size) in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row.size, row.licence))


def _warnings(rows: list[SourceRow], settings: MixSettings) -> list[str]:
    found = []
    for row in rows:
        if row.dry:
            then = "the mixture ends there" if settings.on_exhaust == "stop" else "others make up for it"
            found.append(
                f"{row.name} has run dry at {row.achieved:,} of {row.target:,.0f} {settings.by}: {then}"
            )
        if row.epochs > MANY_EPOCHS:
            found.append(f"{row.name} is gone through {row.epochs:.1f} times")
        if not row.written_documents:
            found.append(f"{row.name} gives nothing: its share is less than half of its first document")
    return found
