"""What the plans and reports of all runs say, for people."""

from typing import Any

from llmkit.commands.facts import plural
from llmkit.commands.values import format_bytes, format_need, format_seconds

Row = tuple[str, ...]


def epochs(plan: Any) -> str:
    """How often the data is gone through."""
    return f"{plan.epochs:g} epoch{'s' * (plan.epochs != 1)}"


def how_rows(plan: Any) -> list[Row]:
    """How a RunPlan learns."""
    return [
        ("rate", f"{plan.schedule}, peak {plan.lr:g}, warm-up {plural(plan.warmup_steps, 'step')}"),
        ("device", f"{plan.device}, {plan.dtype}, {plural(plan.threads, 'thread')}"),
        ("passes", f"{plural(plan.micro_batch_rows, 'row')} each"),
    ]


def need_rows(plan: Any) -> list[Row]:
    """What a RunPlan takes of the machine, and how long."""
    seconds = f"{plan.step_seconds:.3g} s a step"
    return [
        *_memory_rows(plan),
        ("disk", format_need(plan.disk_bytes, plan.disk_free_bytes, "free")),
        ("", f"{format_bytes(plan.checkpoint_bytes)} a checkpoint"),
        ("time", f"{format_seconds(plan.total_seconds)} ({plan.time_source}, {seconds})"),
    ]


def evaluation_rows(plan: Any) -> list[Row]:
    """What a RunPlan says of evaluations, below the time that they are part of."""
    if not plan.evaluations:
        return []
    times, each = plural(plan.evaluations, "time"), plural(plan.evaluation_rows, "row")
    return [("valid", f"{format_seconds(plan.evaluation_seconds)} of that ({times} {each})")]


def end_rows(plan: Any) -> list[Row]:
    """Where a RunPlan begins and what it leaves."""
    return [("begins", f"at step {plan.resume_step:,}"), ("writes", plan.out)]


def run_rows(report: Any) -> list[Row]:
    """What a run took."""
    rows: list[Row] = [("time", format_seconds(report.seconds))]
    if report.tokens_per_second is not None:
        rows.append(("speed", f"{report.tokens_per_second:,.0f} tokens/s, {report.mfu:.1%} MFU"))
    rows.append(("memory", format_bytes(report.memory_bytes)))
    if report.skipped_steps:
        rows.append(("left out", plural(report.skipped_steps, "update")))
    return rows


def _memory_rows(plan: Any) -> list[Row]:
    """What a process takes, and with several what all of them take and send."""
    available = plan.memory_available_bytes
    if plan.processes == 1:
        return [("memory", format_need(plan.memory_bytes, available, "available"))]
    rows: list[Row] = [("processes", f"{plan.processes} ({plan.division})")]
    if plan.all_memory_bytes is None:
        rows.append(("memory", f"{format_need(plan.memory_bytes, available, 'available')} each"))
    else:
        rows.append(("memory", f"{format_bytes(plan.memory_bytes)} in the first process"))
        rows.append(("", f"{format_need(plan.all_memory_bytes, available, 'available')} in all here"))
    sent = ", ".join(f"{name} {format_bytes(size)}" for name, size in plan.sent_bytes.items())
    rows.append(("sent", f"{format_bytes(sum(plan.sent_bytes.values()))} a step by each process ({sent})"))
    return rows
