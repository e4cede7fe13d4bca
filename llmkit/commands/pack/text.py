"""What packing made, and what it would make, for people."""

from typing import Any

from llmkit.commands.facts import plural
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes, format_count, format_need, format_seconds

BOUNDARIES = {
    "none": "nothing put around documents",
    "bos": "bos before each document",
    "eos": "eos after each document",
    "both": "bos before, eos after each document",
}


def describe_report(report: Any) -> str:
    """A PackReport as a table; what did not happen is left out."""
    stored = report.tokens + report.padding_tokens
    rows: list[tuple[str, ...]] = [
        ("rows", f"{report.rows:,} of {report.seq_len + 1:,} ids ({report.out})"),
        ("tokens", f"{report.tokens:,}, and {report.padding_tokens / stored:.2%} padding"),
        ("documents", _documents(report)),
        ("boundary", BOUNDARIES[report.boundary]),
    ]
    if gaps := report.fim_psm_documents + report.fim_spm_documents:
        told = f"{plural(gaps, 'document')}, {report.fim_spm_documents:,} with what follows first"
        rows.append(("gaps", told))
    if report.lost_tokens:
        rows.append(("lost", f"{report.lost_tokens:,} tokens of long documents, as --long asked"))
    if report.bad_lines:
        rows.append(("bad", f"{plural(report.bad_lines, 'line')} passed over"))
    shards = f"{plural(report.shards, 'shard')}, {format_bytes(report.size_bytes)}, ids as {report.dtype}"
    speed = format_count(report.tokens / max(report.seconds, 1e-9))
    rows += [("written", shards), ("time", f"{format_seconds(report.seconds)}, {speed} tokens/s")]
    return align(rows)


def describe_plan(plan: Any) -> str:
    """A PackPlan as a table; what cannot be known of stdin is left out."""
    size = "stdin" if plan.input_bytes is None else format_bytes(plan.input_bytes)
    rows: list[tuple[str, ...]] = [
        ("inputs", f"{plural(len(plan.inputs), 'file')} ({size})"),
        ("rows", f"of {plan.seq_len + 1:,} ids, {plan.strategy}"),
        ("boundary", BOUNDARIES[plan.boundary]),
    ]
    if plan.about_tokens is not None:
        rows += [
            ("tokens", f"about {format_count(plan.about_tokens)}, {format_count(plan.about_rows)} rows"),
            ("output", f"about {format_bytes(plan.about_output_bytes)}"),
            ("disk", f"about {format_need(plan.disk_bytes, plan.disk_free_bytes, 'free')}"),
            ("time", f"about {format_seconds(plan.about_seconds)}"),
        ]
    return align([*rows, ("writes", plan.out)])


def _documents(report: Any) -> str:
    parts = [f"{report.documents:,}", f"{report.cut_documents:,} in more than one row"]
    if report.dropped_documents:
        parts.append(f"{report.dropped_documents:,} dropped as too long")
    if report.empty_documents:
        parts.append(f"{report.empty_documents:,} empty")
    return ", ".join(parts)
