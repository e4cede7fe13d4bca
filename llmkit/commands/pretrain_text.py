"""A run and its plan, for people."""

from typing import Any

from llmkit.commands.facts import plural
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes, format_count, format_need, format_seconds


def describe_plan(plan: Any) -> str:
    """A PretrainPlan as a table."""
    batch = plural(plan.batch_rows, "row")
    each = " a process" if plan.processes > 1 else ""
    epochs = f"{plan.epochs:g} epoch{'s' * (plan.epochs != 1)}"
    rows: list[tuple[str, ...]] = [
        ("model", f"{format_count(plan.parameters)} parameters"),
        ("data", f"{plural(plan.rows, 'row')} of {plural(plan.seq_len, 'token')}"),
        ("run", f"{plural(plan.steps, 'step')} of {batch} ({plan.batch_tokens:,} tokens)"),
        ("", f"{format_count(plan.total_tokens)} tokens, {epochs}"),
        ("updates", f"by {plan.optimizer}"),
        ("rate", f"{plan.schedule}, peak {plan.lr:g}, warm-up {plural(plan.warmup_steps, 'step')}"),
        ("device", f"{plan.device}, {plan.dtype}, {plural(plan.threads, 'thread')}"),
        ("passes", f"{plural(plan.micro_batch_rows, 'row')} each"),
        ("compute", f"{plan.total_flops:.3g} FLOPs, {format_count(plan.flops_per_token)} a token"),
        ("peak", f"{plan.peak_flops_per_second:.3g} FLOPs/s{each} ({plan.peak_source})"),
        *_memory(plan),
        ("disk", format_need(plan.disk_bytes, plan.disk_free_bytes, "free")),
        ("", f"{format_bytes(plan.checkpoint_bytes)} a checkpoint"),
        (
            "time",
            f"{format_seconds(plan.total_seconds)} ({plan.time_source}, {plan.step_seconds:.3g} s a step)",
        ),
        ("speed", f"{plan.tokens_per_second:,.0f} tokens/s"),
        ("begins", f"at step {plan.resume_step:,}"),
        ("writes", plan.out),
    ]
    return align(rows)


def _memory(plan: Any) -> list[tuple[str, ...]]:
    """What a process takes, and with several what all of them take and send."""
    available = plan.memory_available_bytes
    if plan.processes == 1:
        return [("memory", format_need(plan.memory_bytes, available, "available"))]
    rows: list[tuple[str, ...]] = [("processes", f"{plan.processes} ({plan.division})")]
    if plan.all_memory_bytes is None:
        rows.append(("memory", f"{format_need(plan.memory_bytes, available, 'available')} each"))
    else:
        rows.append(("memory", f"{format_bytes(plan.memory_bytes)} in the first process"))
        rows.append(("", f"{format_need(plan.all_memory_bytes, available, 'available')} in all here"))
    sent = ", ".join(f"{name} {format_bytes(size)}" for name, size in plan.sent_bytes.items())
    rows.append(("sent", f"{format_bytes(sum(plan.sent_bytes.values()))} a step by each process ({sent})"))
    return rows


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
    rows.append(("time", format_seconds(report.seconds)))
    if report.tokens_per_second is not None:
        rows.append(("speed", f"{report.tokens_per_second:,.0f} tokens/s, {report.mfu:.1%} MFU"))
    rows.append(("memory", format_bytes(report.memory_bytes)))
    if report.skipped_steps:
        rows.append(("left out", plural(report.skipped_steps, "update")))
    return align(rows)
