"""The plan of `llmkit generate`, for people."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmkit.commands.console import Console
from llmkit.commands.facts import kernels_of, plural, threads_of
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes, format_count, format_need
from llmkit.engine.config import SamplingConfig
from llmkit.formats.jsonl import encode_line

if TYPE_CHECKING:
    from llmkit.engine.speculation_report import SpeculationReport
    from llmkit.workflows.generate.stats import GenerateStats

_ALWAYS = ("max_tokens", "temperature", "seed")


def describe_plan(plan: Any) -> str:
    """A GeneratePlan as a table; settings that change nothing are left out."""
    prompts = "rows of a pipe"
    if plan.rows is not None:
        prompts = f"{plural(plan.rows, 'prompt')}, {plural(plan.prompt_tokens, 'token')} at most"
    rows = [
        ("model", f"{plan.model}  ({format_count(plan.parameters)} parameters)"),
        (
            "runs on",
            f"{plan.device}, {plan.dtype}, {threads_of(plan.processes, plan.threads)}, {kernels_of(plan)}",
        ),
        ("prompts", prompts),
        ("context", plural(plan.context, "token")),
        ("sampling", ", ".join(sampling_words(plan.sampling))),
        *memory_rows(plan),
        ("writes", plan.out or "stdout"),
    ]
    return align(rows)


def memory_rows(plan: Any) -> list[tuple[str, str]]:
    """What a GeneratePlan or ChatPlan takes of memory."""
    return [
        ("weights", format_bytes(plan.weight_bytes)),
        ("cache", format_bytes(plan.kv_bytes)),
        *([("draft model", format_bytes(plan.draft_bytes))] if plan.draft_bytes else []),
        *([("adapters", format_bytes(plan.adapter_bytes))] if plan.adapter_bytes else []),
        ("memory", format_need(plan.memory_bytes, plan.memory_available_bytes, "available")),
    ]


def sampling_words(sampling: dict[str, Any]) -> Iterator[str]:
    """What bears on the text, as it would be typed."""
    for name, value in sampling.items():
        if name not in _ALWAYS and value == getattr(SamplingConfig, name):
            continue
        flag = name.replace("_", "-")
        if name == "samplers":
            value = ",".join(value)
        elif name in ("stop", "choice"):
            value = " ".join(map(repr, value))
        elif name == "stop_ids":
            value = " ".join(map(str, value))
        elif name == "logit_bias":
            value = " ".join(f"{token}={added:g}" for token, added in value)
        yield flag if value is True else f"{flag} {value}"


def print_stats(stats: "GenerateStats", console: Console, *, as_json: bool) -> None:
    """The figures of a run on stderr, unless --quiet: a table, or a line of JSON beside records."""
    console.note(encode_line(stats).decode().rstrip() if as_json else describe_stats(stats))


def describe_stats(stats: "GenerateStats") -> str:
    """A GenerateStats as a table; what was not measured is left out."""
    written = plural(stats.completion_tokens, "token")
    if stats.texts != 1:
        written += f" in {plural(stats.texts, 'text')}"
    rows = [
        (
            "prompts",
            f"{plural(stats.prompt_tokens, 'token')}, {stats.cached_tokens:,} of them from the cache",
        ),
        ("written", f"{written}, {stats.seconds:.2f} s"),
    ]
    if stats.first_token_seconds is not None and stats.longest_first_token_seconds is not None:
        longest = f", {stats.longest_first_token_seconds:.3f} s at most" if stats.texts > 1 else ""
        rows.append(("first token", f"after {stats.first_token_seconds:.3f} s{longest}"))
    for name, speed in (
        ("prefill", stats.prefill_tokens_per_second),
        ("decode", stats.decode_tokens_per_second),
    ):
        if speed is not None:
            rows.append((name, f"{speed:,.1f} tokens a second"))
    rows += [
        ("computed by", kernels_of(stats)),
        ("loading", f"{stats.load_seconds:.2f} s"),
        ("memory", f"{format_bytes(stats.peak_memory_bytes)} at most"),
    ]
    if stats.restarts:
        rows.append(("started over", plural(stats.restarts, "time")))
    for one in stats.adapters:
        told = f"{format_bytes(one.memory_bytes)}, {plural(one.texts, 'text')}, {stats.kernels} kernels"
        rows.append((f"adapter {one.name}", told))
    if stats.speculation is not None:
        rows.append(("guesses", ", ".join(_speculation_words(stats.speculation))))
    return align(rows)


def _speculation_words(report: "SpeculationReport") -> Iterator[str]:
    rate = "" if report.acceptance_rate is None else f" ({report.acceptance_rate:.0%})"
    yield f"{report.accepted_tokens:,} of {report.proposed_tokens:,} right{rate}"
    if report.tokens_per_verification is not None:
        yield f"{report.tokens_per_verification:.2f} tokens a pass"
    if report.speedup is not None:
        yield f"{report.speedup:.2f} times the speed"
    if report.times_off:
        yield f"off{'' if report.is_off else ' for a while'}: they lost"
