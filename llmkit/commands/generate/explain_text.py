"""The report of `llmkit generate --explain-step`, for people."""

from typing import Any

from llmkit.commands.facts import plural
from llmkit.commands.shared import align

RULED_OUT = "-"


def describe_step(report: Any) -> str:
    """A StepReport as a table: a row for each token shown, a column for each step, a share in each cell."""
    stages = report.stages
    shares = [{one.id: one.probability for one in stage.candidates} for stage in stages]
    tokens = {one.id: one.text for stage in stages for one in stage.candidates}
    order = sorted(tokens, key=lambda token: [-share.get(token, -1.0) for share in (shares[0], shares[-1])])
    rows = [
        ("", "", *(stage.step.replace("_", "-") for stage in stages)),
        ("id", "token", *(_setting(stage.setting) for stage in stages)),
        *(
            (
                str(token),
                "" if tokens[token] is None else repr(tokens[token]),
                *(f"{share[token]:.2%}" if token in share else RULED_OUT for share in shares),
            )
            for token in order
        ),
        ("", "candidates", *(f"{stage.left:,}" for stage in stages)),
        ("", "entropy", *(f"{stage.entropy_bits:.2f} bits" for stage in stages)),
    ]
    table = align(rows, right=(0, *range(2, len(rows[0]))))
    off = ", ".join(step.replace("_", "-") for step in report.off)
    how = "the best" if report.is_greedy else f"by chance, seed {report.seed}"
    end = ", which ends the text" if report.ends_text else ""
    drawn = str(report.drawn_id) if report.drawn_text is None else f"{report.drawn_id} {report.drawn_text!r}"
    return "\n".join(
        (
            f"the next token after {plural(report.prompt_tokens, 'token')}, step by step",
            "",
            table,
            "",
            f"drawn: {drawn}{end} ({how})",
            *([f"off:   {off}"] if off else []),
        )
    )


def _setting(setting: Any) -> str:
    if setting is None:
        return ""
    if not isinstance(setting, dict):
        return f"{setting:g}" if isinstance(setting, float) else str(setting).replace("_", "-")
    return "" if len(setting) > 1 else " ".join(f"{name}: {value:g}" for name, value in setting.items())
