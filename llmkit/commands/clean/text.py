"""The words of `llmkit clean`: its report, its plan, and what each rule says of a document."""

from typing import TYPE_CHECKING, Any

from llmkit.commands.facts import visible
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes
from llmkit.formats.amount_text import plural
from llmkit.workflows.clean.figures import share_text, value_text

if TYPE_CHECKING:
    from llmkit.workflows.clean.clean import CleanPlan, Explanation
    from llmkit.workflows.clean.report import CleanReport


def describe_report(report: "CleanReport") -> str:
    """What went in and came out, then a row for each check that dropped something."""
    verb = "would drop" if report.mode == "tag" else "dropped"
    lines = [
        f"documents  {report.documents:,} ({format_bytes(report.bytes)})"
        + (", one shard: others are missing" if report.unfinished else ""),
        f"kept       {report.kept_documents:,} ({format_bytes(report.kept_bytes)}"
        f", {share_text(report.kept_documents, report.documents)} of documents)",
        f"rejected   {report.rejected_documents:,} ({format_bytes(report.rejected_bytes)})"
        + (f", {report.malformed_documents:,} of them malformed" if report.malformed_documents else ""),
        f"changed    {report.changed_documents:,}; {format_bytes(report.written_bytes)} written",
    ]
    rows: list[tuple[str, ...]] = [
        (
            row.rule,
            f"{row.dropped_documents:,}",
            share_text(row.dropped_documents, row.documents),
            format_bytes(row.dropped_bytes),
            value_text(row.values.get("p50")),
            row.meaning,
        )
        for row in report.rules
        if row.dropped_documents
    ]
    if rows:
        head: tuple[str, ...] = ("rule", verb, "share", "bytes", "median", "of")
        if not any(row[4] for row in rows):  # values are measured for a report alone
            head, rows = _without(head, 4), [_without(row, 4) for row in rows]
        lines += ["", align([head, *rows], right=tuple(range(1, len(head) - 1)))]
    if report.edits:
        edits = [(row.edit, f"{row.edits:,}", f"{row.documents:,}") for row in report.edits]
        lines += ["", align([("edit", "times", "documents"), *edits], right=(1, 2))]
    return "\n".join(lines)


def describe_plan(plan: "CleanPlan") -> str:
    """What would be read, written and asked."""
    size = "unknown (stdin)" if plan.input_bytes is None else format_bytes(plan.input_bytes)
    parts = "" if plan.units is None else f", a folder of {plural(plan.units, 'part')}"
    lines = [
        f"inputs   {len(plan.inputs):,} ({size})",
        f"output   {plan.out or 'stdout'}{parts}",
        f"workers  {plan.workers} ({plan.executor})",
    ]
    if plan.rules:
        rows = [(rule["rule"], _bounds(rule), rule["meaning"]) for rule in plan.rules]
        lines += ["", align([("rule", "keeps", "what"), *rows])]
    return "\n".join(lines)


def describe_explanation(one: "Explanation") -> str:
    """One document: each check, its value, its bounds, and which of them drop it."""
    where = f"{one.file}:{one.line}" if one.line else one.file
    lines = [f"{visible(f'{one.id}  {where}')}  {'kept' if one.kept else 'dropped'}"]
    rows = [
        (
            *("keeps" if check["keeps"] else "DROPS", check["rule"], value_text(check["value"])),
            *(_bounds(check), check["meaning"]),
        )
        for check in one.checks
    ]
    if rows:
        lines += [align([("", "rule", "value", "keeps", "what"), *rows], right=(2,))]
    lines += [f"edit  {name}  {count:,}" for name, count in one.edits.items()]
    return "\n".join(lines)


def _bounds(check: dict[str, Any]) -> str:
    low = "" if check["low"] is None else f">= {check['low']:g}"
    high = "" if check["high"] is None else f"<= {check['high']:g}"
    return ", ".join(filter(None, (low, high)))


def _without(row: tuple[str, ...], column: int) -> tuple[str, ...]:
    return row[:column] + row[column + 1 :]
