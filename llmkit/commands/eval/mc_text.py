"""The report of `llmkit eval mc`, for people."""

from typing import Any

from llmkit.commands.facts import Facts, facts_lines, plural, title_line
from llmkit.commands.shared import align
from llmkit.commands.terminal import text_width


def mc_text(report: Any) -> str:
    """A McReport as facts, and a table of its groups."""
    shots = f", {plural(report.shots, 'example')} before each" if report.shots else ""
    facts: Facts = [("questions", f"{report.records:,} as {report.form} has them{shots}")]
    if report.perplexity is None:
        facts += [
            (name, f"{getattr(report, name):.4f} ± {getattr(report, f'{name}_error'):.4f}")
            for name in ("acc", "acc_norm", "acc_bytes")
        ]
    else:
        facts += [
            ("acc", f"{report.acc:.4f} ± {report.acc_error:.4f}"),
            ("perplexity", f"{report.perplexity:.4f} of the last word"),
        ]
    interval = report.interval
    facts += [
        ("95 % interval", f"{interval.low:.4f} to {interval.high:.4f}: {interval.method}"),
        ("took", f"{report.seconds:.1f} s"),
    ]
    lines = [title_line(report.model, "multiple choice"), *facts_lines(facts, text_width())]
    if report.groups:
        rows = [("group", "questions", "acc", "±", "acc_norm", "acc_bytes")]
        rows += [
            (
                *(one.group, f"{one.records:,}", f"{one.acc:.4f}", f"{one.acc_error:.4f}"),
                *(f"{one.acc_norm:.4f}", f"{one.acc_bytes:.4f}"),
            )
            for one in report.groups
        ]
        lines += ["", align(rows, right=(1, 2, 3, 4, 5))]
    return "\n".join(lines)
