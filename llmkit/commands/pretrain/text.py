"""A run, its plan, and what a hundred updates tell of one, for people."""

import math
from typing import Any

from llmkit.commands.facts import plural
from llmkit.commands.plan_text import end_rows, epochs, evaluation_rows, how_rows, need_rows, run_rows
from llmkit.commands.plot import Series, draw_curves
from llmkit.commands.shared import align
from llmkit.commands.terminal import text_width
from llmkit.commands.values import format_count, format_seconds


def describe_plan(plan: Any) -> str:
    """A PretrainPlan as a table."""
    batch = plural(plan.batch_rows, "row")
    each = " a process" if plan.processes > 1 else ""
    rows: list[tuple[str, ...]] = [
        ("model", f"{format_count(plan.parameters)} parameters"),
        ("data", f"{plural(plan.rows, 'row')} of {plural(plan.seq_len, 'token')}"),
        ("run", f"{plural(plan.steps, 'step')} of {batch} ({plan.batch_tokens:,} tokens)"),
        ("", f"{format_count(plan.total_tokens)} tokens, {epochs(plan)}"),
        ("updates", f"by {plan.optimizer}"),
        *how_rows(plan),
        ("compute", f"{plan.total_flops:.3g} FLOPs, {format_count(plan.flops_per_token)} a token"),
        ("peak", f"{plan.peak_flops_per_second:.3g} FLOPs/s{each} ({plan.peak_source})"),
        *need_rows(plan),
        *evaluation_rows(plan),
        ("speed", f"{plan.tokens_per_second:,.0f} tokens/s"),
        *end_rows(plan),
    ]
    return align(rows)


def describe_report(report: Any) -> str:
    """A PretrainReport as a table; what the run has no figure for is left out."""
    rows: list[tuple[str, ...]] = [
        ("model", f"{report.out}  ({format_count(report.parameters)} parameters)"),
        ("steps", f"{report.steps:,}  ({format_count(report.tokens)} tokens)"),
    ]
    if report.loss is not None:
        rows.append(("loss", f"{report.loss:.4f}"))
    if report.valid_loss is not None:
        bits = "" if report.bits_per_byte is None else f"  ({report.bits_per_byte:.4f} bits per byte)"
        rows.append(("validation", f"{report.valid_loss:.4f}{bits}"))
    return align([*rows, *run_rows(report)])


def describe_trial(report: Any) -> str:
    """An OverfitReport or a FindLrReport."""
    if report.schema.startswith("llmkit.pretrain-overfit/"):
        return _overfit(report)
    return _find_lr(report)


def _overfit(report: Any) -> str:
    rows: list[tuple[str, ...]] = [
        ("batch", f"{plural(report.rows, 'row')}, {plural(report.tokens, 'target')}"),
        ("rate", f"{report.lr:g}"),
        ("loss", f"{report.first_loss:.4f} to {report.loss:.4f} in {plural(len(report.curve), 'update')}"),
        ("time", format_seconds(report.seconds)),
    ]
    curve = Series("loss, by update", [(one.step, one.loss) for one in report.curve])
    return "\n".join([align(rows), "", *draw_curves([curve], width=text_width())])


def _find_lr(report: Any) -> str:
    none = "none: the loss never fell"
    end = report.curve[-1].lr
    rows: list[tuple[str, ...]] = [
        ("optimiser", report.optimizer),
        ("steepest", none if report.steepest_lr is None else f"{report.steepest_lr:.2g}"),
        ("lowest", f"{report.lowest_lr:.2g}"),
        ("suggested", none if report.suggested_lr is None else f"--lr {report.suggested_lr:g}"),
        ("now", f"{report.run_lr:g}"),
        ("ended", f"at {end:.2g}, the loss above its first" if report.diverged else f"at {end:.2g}"),
        ("time", format_seconds(report.seconds)),
    ]
    points = [(math.log10(one.lr), one.smoothed) for one in report.curve]
    curve = Series("smoothed loss, by log10 of the rate", points)
    return "\n".join([align(rows), "", *draw_curves([curve], width=text_width())])
