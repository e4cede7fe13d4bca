"""The report of `llmkit eval gen`, for people."""

from typing import Any

from llmkit.commands.facts import Facts, facts_lines, plural, title_line
from llmkit.commands.terminal import text_width


def gen_text(report: Any) -> str:
    """A GenReport as facts."""
    shots = f", {plural(report.shots, 'example')} before each" if report.shots else ""
    facts: Facts = [
        (
            "tasks",
            f"{report.tasks:,} as {report.form} has them, {plural(report.samples, 'sample')} each{shots}",
        ),
        *((f"pass@{one.k}", f"{one.value:.4f} ± {one.error:.4f}") for one in report.pass_at),
        ("score", f"{report.score:.4f} ± {report.score_error:.4f}, judged by {report.judged_by}"),
        ("nothing found", f"in {plural(report.nothing_found, 'text')}" if report.nothing_found else None),
        ("cut off", f"{plural(report.cut_off, 'text')} by --max-tokens" if report.cut_off else None),
        ("took", f"{report.seconds:.1f} s, {plural(report.completion_tokens, 'token')} written"),
    ]
    return "\n".join([title_line(report.model, "written answers"), *facts_lines(facts, text_width())])
