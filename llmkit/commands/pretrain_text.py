"""A run and its plan, for people."""

from typing import Any

from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes, format_count, format_seconds


def describe_plan(plan: Any) -> str:
    """A PretrainPlan as a table."""
    rows: list[tuple[str, ...]] = [
        ("model", f"{format_count(plan.parameters)} parameters"),
        ("data", f"{plan.rows:,} rows of {plan.seq_len} tokens"),
        ("run", f"{plan.steps:,} steps of {plan.batch_rows} rows ({plan.batch_tokens:,} tokens)"),
        ("", f"{format_count(plan.total_tokens)} tokens, {plan.epochs:g} epochs"),
        ("rate", f"{plan.schedule}, peak {plan.lr:g}, warm-up {plan.warmup_steps:,} steps"),
        ("device", f"{plan.device}, {plan.dtype}, {plan.threads} threads"),
        ("passes", f"{plan.micro_batch_rows} rows each"),
        ("compute", f"{plan.total_flops:.3g} FLOPs, {format_count(plan.flops_per_token)} a token"),
        ("peak", f"{plan.peak_flops_per_second:.3g} FLOPs/s ({plan.peak_source})"),
        ("memory", _of(plan.memory_bytes, plan.memory_available_bytes, "available")),
        ("disk", _of(plan.disk_bytes, plan.disk_free_bytes, "free")),
        ("", f"{format_bytes(plan.checkpoint_bytes)} a checkpoint"),
        (
            "time",
            f"{format_seconds(plan.total_seconds)} ({plan.time_source}, {plan.step_seconds:.3g} s a step)",
        ),
        ("begins", f"at step {plan.resume_step:,}"),
        ("writes", plan.out),
    ]
    return align(rows)


def describe_report(report: Any) -> str:
    """A PretrainReport as a table."""
    rows: list[tuple[str, ...]] = [
        ("model", f"{report.out}  ({format_count(report.parameters)} parameters)"),
        ("steps", f"{report.steps:,}  ({format_count(report.tokens)} tokens)"),
        ("loss", _number(report.loss)),
        ("validation", f"{_number(report.valid_loss)}  ({_number(report.bits_per_byte)} bits per byte)"),
        ("time", format_seconds(report.seconds)),
        ("speed", _speed(report)),
        ("memory", format_bytes(report.memory_bytes)),
        ("left out", f"{report.skipped_steps} updates"),
    ]
    unknown = {"validation": report.valid_loss is None, "speed": report.tokens_per_second is None}
    unknown["left out"] = report.skipped_steps == 0
    return align([row for row in rows if not unknown.get(row[0])])


def _of(needed: int, there: int | None, word: str) -> str:
    return format_bytes(needed) + (f" of {format_bytes(there)} {word}" if there is not None else "")


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _speed(report: Any) -> str:
    if report.tokens_per_second is None:
        return ""
    return f"{report.tokens_per_second:,.0f} tokens/s, {report.mfu:.1%} MFU"
