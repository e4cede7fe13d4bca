"""What a mixture was to be and what it is, for people."""

from typing import TYPE_CHECKING

from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes, format_count

if TYPE_CHECKING:
    from llmkit.workflows.mix.report import MixReport

MOST_LICENCES = 12


def describe_report(report: "MixReport") -> str:
    """The mixture, a row for each source, and a row for each licence."""
    verb = "would be" if report.out is None else "written"
    lines = [
        f"documents  {report.documents:,} {verb}, {format_bytes(report.bytes)} of text in {report.parts:,} "
        + ("part" if report.parts == 1 else "parts"),
        f"{report.by:<10} {_amount(report, report.achieved)} of {_amount(report, report.target)} wanted",
        "",
        _sources(report),
    ]
    if any(row.licence != "unknown" for row in report.licences):
        lines += ["", _licences(report)]
    return "\n".join(lines)


def _sources(report: "MixReport") -> str:
    head: tuple[str, ...] = (
        "source",
        "share",
        "got",
        "wanted",
        "achieved",
        "epochs",
        "documents",
        "of",
        "refused",
        "",
    )
    rows: list[tuple[str, ...]] = [
        (
            row.name,
            f"{row.share:.2%}",
            f"{row.achieved_share:.2%}",
            _amount(report, row.target),
            _amount(report, row.achieved),
            f"{row.epochs:.2f}",
            f"{row.written_documents:,}",
            f"{row.documents:,}",
            f"{row.refused_documents + row.bad_lines:,}",
            "ran dry" if row.dry else "",
        )
        for row in report.sources
    ]
    if not any(row.refused_documents or row.bad_lines for row in report.sources):
        head, rows = head[:8] + head[9:], [row[:8] + row[9:] for row in rows]
    return align([head, *rows], right=tuple(range(1, len(head) - 1)))


def _licences(report: "MixReport") -> str:
    rows = [
        (row.licence, f"{row.share:.2%}", f"{row.documents:,}", ", ".join(row.sources))
        for row in report.licences[:MOST_LICENCES]
    ]
    more = report.licences[MOST_LICENCES:]
    if more:
        share = sum(row.share for row in more)
        rows.append((f"{len(more):,} others", f"{share:.2%}", f"{sum(row.documents for row in more):,}", ""))
    return align([("licence", "share", "documents", "sources"), *rows], right=(1, 2))


def _amount(report: "MixReport", amount: float) -> str:
    match report.by:
        case "bytes":
            return format_bytes(amount)
        case "tokens":
            return format_count(amount)
    return f"{amount:,.0f}"
