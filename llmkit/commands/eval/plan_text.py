"""The plan of an evaluation, for people."""

from typing import Any

from llmkit.commands.facts import kernels_of, plural
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes, format_count, format_need


def eval_plan_text(plan: Any) -> str:
    """An EvalPlan as a table."""
    both = "" if plan.reference is None else f", beside {plan.reference}"
    written = f", {plural(plan.written_tokens, 'token')} written at most" if plan.written_tokens else ""
    rows = [
        ("model", f"{plan.model}  ({format_count(plan.parameters)} parameters){both}"),
        ("runs on", f"{plan.device}, {plan.dtype}, {plural(plan.threads, 'thread')}, {kernels_of(plan)}"),
        ("texts", f"{plural(plan.texts, 'text')}, {plural(plan.texts_at_once, 'text')} at once"),
        ("tokens", f"{plural(plan.prompt_tokens, 'token')} read{written}"),
        ("longest", f"{plural(plan.longest_tokens, 'token')} of {plan.context:,}"),
        ("weights", format_bytes(plan.weight_bytes)),
        ("cache", format_bytes(plan.kv_bytes)),
        ("memory", format_need(plan.memory_bytes, plan.memory_available_bytes, "available")),
        *(("note", note) for note in plan.notes),
    ]
    return align(rows)
