"""The report of `llmkit eval score`, for people."""

from typing import Any

from llmkit.commands.facts import Facts, facts_lines, plural, title_line
from llmkit.commands.shared import align
from llmkit.commands.terminal import text_width


def score_text(report: Any) -> str:
    """A ScoreReport as facts, and a table of its groups."""
    interval, missing = report.interval, report.without_output
    told = "not known of one record"
    if interval is not None:
        told = f"{interval.low:.4f} to {interval.high:.4f}: {interval.method}"
    facts: Facts = [
        (report.headline.name, f"{report.score:.4f} ({report.correct:,} of {report.records:,} right)"),
        ("95 % interval", told),
        ("nothing found", plural(report.nothing_found, "output") if report.nothing_found else None),
        ("no output", f"for {plural(missing, 'answer')}, counted as wrong" if missing else None),
    ]
    lines = [title_line(report.outputs, f"matched by {report.match}"), *facts_lines(facts, text_width())]
    if report.groups:
        rows = [("group", "records", "score")]
        rows += [(one.group, f"{one.records:,}", f"{one.score:.4f}") for one in report.groups]
        lines += ["", align(rows, right=(1, 2))]
    return "\n".join(lines)
