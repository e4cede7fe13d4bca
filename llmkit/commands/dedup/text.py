"""What dedup found, and what it would take, for people."""

from typing import Any

from llmkit.commands.facts import plural
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes, format_count, format_need, format_seconds

MOST_SOURCES = 8


def describe_report(report: Any) -> str:
    """A DedupReport as a table; what did not happen is left out."""
    rows: list[tuple[str, str]] = [
        ("documents", f"{report.documents:,}: {report.kept_documents:,} kept, {_gone(report)}"),
        ("text", f"{format_bytes(report.kept_bytes)} of {format_bytes(report.input_bytes)} kept"),
    ]
    if report.by in ("paragraph", "line", "substring"):
        what = plural(report.removed_pieces, "span" if report.by == "substring" else report.by)
        rows.append(("removed", f"{what}, in {plural(report.edited_documents, 'document')} that stay"))
    if report.clusters:
        sizes = ", ".join(f"{count:,} of {size}" for size, count in report.cluster_sizes.items() if count)
        rows.append(("clusters", f"{report.clusters:,}: {sizes}"))
    rows += [("dropped", line) for line in _by_source(report.removed_by_source)]
    if report.candidates is not None:
        rows.append(("bands", f"{report.bands} of {report.rows} hashes, {plural(report.candidates, 'pair')}"))
    if report.missed_about is not None and report.clusters:
        rows.append(("missed", f"about {report.missed_about:,.1f} duplicates, by the odds of the bands"))
    if report.index_documents:
        rows.append(("index", plural(report.index_documents, "document")))
    if report.bad_lines:
        rows.append(("bad", f"{plural(report.bad_lines, 'line')} passed over"))
    speed = format_bytes(report.input_bytes / max(report.seconds, 1e-9))
    return align([*rows, ("time", f"{format_seconds(report.seconds)}, {speed}/s")])


def describe_plan(plan: Any) -> str:
    """A DedupPlan as a table; what cannot be known of stdin is left out."""
    size = "stdin" if plan.input_bytes is None else format_bytes(plan.input_bytes)
    rows: list[tuple[str, str]] = [
        ("inputs", f"{plural(len(plan.inputs), 'file')} ({size}), {plural(plan.units, 'unit')}"),
        ("by", plan.by + ("" if plan.by != "near" else f", similarity {plan.similarity:g}")),
        ("kept", plan.prefer),
    ]
    if plan.bands is not None:
        rows.append(("bands", f"{plan.bands} of {plan.rows} hashes"))
        odds = ", ".join(f"{share:.1%} at {at}" for at, share in plan.found_at.items())
        rows.append(("found", odds))
    if plan.about_documents is not None:
        rows += [
            ("documents", f"about {format_count(plan.about_documents)}"),
            ("memory", f"about {format_bytes(plan.about_memory_bytes)} a worker, and mapped files"),
            ("disk", f"about {format_need(plan.about_disk_bytes, plan.disk_free_bytes, 'free')}"),
            ("time", f"about {format_seconds(plan.about_seconds)} of processor time"),
        ]
    return align([*rows, ("writes", plan.out)])


def _gone(report: Any) -> str:
    if report.tagged_documents:
        return f"{report.tagged_documents:,} of them tagged"
    return f"{report.removed_documents:,} dropped ({report.share:.1%})"


def _by_source(table: dict[str, dict[str, int]]) -> list[str]:
    """The largest entries: of which source, for a document of which."""
    entries = [(count, own, kept) for own, row in table.items() for kept, count in row.items()]
    entries.sort(key=lambda entry: (-entry[0], entry[1:]))
    lines = [f"{count:,} of {own} for one of {kept}" for count, own, kept in entries[:MOST_SOURCES]]
    more = sum(count for count, _, _ in entries[MOST_SOURCES:])
    return [*lines, f"{more:,} of others"] if more else lines
