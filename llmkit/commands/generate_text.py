"""The plan of `llmkit generate`, for people."""

from collections.abc import Iterator
from typing import Any

from llmkit.commands.facts import plural
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes, format_count
from llmkit.engine.config import SamplingConfig

_ALWAYS = ("max_tokens", "temperature", "seed")


def describe_plan(plan: Any) -> str:
    """A GeneratePlan as a table; settings that change nothing are left out."""
    memory = format_bytes(plan.memory_bytes)
    if plan.memory_available_bytes is not None:
        memory += f" of {format_bytes(plan.memory_available_bytes)} available"
    prompts = "rows of a pipe"
    if plan.rows is not None:
        prompts = f"{plural(plan.rows, 'prompt')}, {plural(plan.prompt_tokens, 'token')} at most"
    rows = [
        ("model", f"{plan.model}  ({format_count(plan.parameters)} parameters)"),
        ("runs on", f"{plan.device}, {plan.dtype}, {plural(plan.threads, 'thread')}"),
        ("prompts", prompts),
        ("context", plural(plan.context, "token")),
        ("sampling", ", ".join(sampling_words(plan.sampling))),
        ("weights", format_bytes(plan.weight_bytes)),
        ("cache", format_bytes(plan.kv_bytes)),
        ("memory", memory),
        ("writes", plan.out or "stdout"),
    ]
    return align(rows)


def sampling_words(sampling: dict[str, Any]) -> Iterator[str]:
    """What bears on the text, as it would be typed."""
    for name, value in sampling.items():
        if name not in _ALWAYS and value == getattr(SamplingConfig, name):
            continue
        flag = name.replace("_", "-")
        if name in ("stop", "choice"):
            value = " ".join(map(repr, value))
        elif name == "logit_bias":
            value = " ".join(f"{token}={added:g}" for token, added in value)
        yield flag if value is True else f"{flag} {value}"
