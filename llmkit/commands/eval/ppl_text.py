"""The report of `llmkit eval ppl`, for people."""

from typing import Any

from llmkit.commands.facts import Facts, facts_lines, plural, title_line
from llmkit.commands.terminal import text_width


def ppl_text(report: Any) -> str:
    """A PplReport as facts."""
    interval = report.interval
    told = "not known of one token"
    if interval is not None:
        told = f"{interval.low:.4f} to {interval.high:.4f}: {interval.method}"
    facts: Facts = [
        ("perplexity", f"{report.perplexity:.4f} ± {report.perplexity_error:.4f}"),
        ("95 % interval", told),
        ("bits", f"{_bits(report)}, {report.bits_per_token:.4f} per token"),
        (
            "scored",
            f"{plural(report.scored_tokens, 'token')} of {report.tokens:,}, "
            f"{plural(report.records, 'record')}, {plural(report.bytes, 'byte')}",
        ),
        (
            "windows",
            f"{plural(report.window, 'token')}, stride {report.stride:,}, as {report.like} has them",
        ),
        ("took", f"{report.seconds:.1f} s"),
    ]
    return "\n".join([title_line(report.model, "perplexity"), *facts_lines(facts, text_width())])


def _bits(report: Any) -> str:
    return "no text" if report.bits_per_byte is None else f"{report.bits_per_byte:.4f} per byte"
