"""What `llmkit serve` says for people: the plan, and what keys have used."""

from typing import Any

from llmkit.commands.facts import kernels_of, plural, threads_of
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes, format_count, format_need


def describe_plan(plan: Any) -> str:
    """A ServePlan as a table."""
    rows = [
        ("model", f"{plan.model}  ({format_count(plan.parameters)} parameters)"),
        ("called", plan.name),
        ("listens", plan.listens),
        ("keys", "none: whoever reaches it is answered" if plan.keys is None else str(plan.keys)),
        (
            "runs on",
            f"{plan.device}, {plan.dtype}, {threads_of(plan.processes, plan.threads)}, {kernels_of(plan)}",
        ),
        ("context", plural(plan.context, "token")),
        ("at once", f"{plural(plan.texts_at_once, 'text')}, {plan.cache_positions:,} tokens of cache"),
        ("weights", format_bytes(plan.weight_bytes)),
        ("memory", format_need(plan.memory_bytes, plan.memory_available_bytes, "available")),
        *(("tool", one) for one in plan.tools),
        *([] if plan.retrieve is None else [("passages", f"of {plan.retrieve}")]),
        *(("note", note) for note in plan.notes),
    ]
    return align(rows)


def describe_fleet(plan: Any) -> str:
    """A FleetPlan as tables, one a version."""
    rows = [
        ("versions", ", ".join(plan.versions) or "none of our own"),
        ("replicas", f"{plan.replicas} of each"),
        *(("worker", url) for url in plan.workers),
        ("memory", f"{format_bytes(plan.memory_bytes)} of all together"),
    ]
    return "\n\n".join([align(rows), *(describe_plan(one) for one in plan.models)])


def usage_table(rows: list[dict[str, Any]]) -> str:
    """What was counted, a line a day, key and model."""
    if not rows:
        return "nothing was counted yet"
    names = list(rows[0])
    cells = [
        tuple(f"{one[name]:,}" if isinstance(one[name], int) else one[name] for name in names) for one in rows
    ]
    return align([tuple(names), *cells], right=tuple(range(3, len(names))))
