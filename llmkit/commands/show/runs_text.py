"""Training runs beside each other as text: a table, the settings that differ, their curves in one plot."""

from typing import Any

from llmkit.commands.facts import indented, visible
from llmkit.commands.plot import INKS, Series, draw_curves
from llmkit.commands.shared import align
from llmkit.commands.values import format_bytes, format_count, format_seconds
from llmkit.workflows.show.runs import RunRow, RunsReport, setting_words

_MARKERS = "o+x*#%@&"
"""What tells lines apart where there is no colour; the first run is a line."""
_LONGEST = 24


def runs_text(report: RunsReport, *, width: int, color: bool) -> str:
    """A comparison, at most `width` columns wide where the names of the runs allow it."""
    names = run_names([one.path for one in report.runs])
    best = names[[one.path for one in report.runs].index(report.best)] if report.best else None
    by_valid = report.judged_by == "valid_loss"
    lines = align(
        [
            ("", "steps", "tokens", "time", "tok/s", "memory", "loss", "valid", "lowest"),
            *(_figures(name, one, by_valid) for name, one in zip(names, report.runs, strict=True)),
        ],
        right=tuple(range(1, 9)),
    ).splitlines()
    if best is not None:
        what = "validation loss" if by_valid else "training loss"
        lines += ["", f"lowest {what}: {best}"]
    if report.differing:
        rows = [(name, *(_short(one.settings[name]) for one in report.runs)) for name in report.differing]
        lines += ["", *align([("differ in", *names), *rows]).splitlines()]
    else:
        lines += ["", "no setting that is known differs"]
    series = [
        Series(
            name,
            [(point.step, point.loss) for point in (one.valid if by_valid else one.train)],
            "" if color or not place else _MARKERS[(place - 1) % len(_MARKERS)],
            INKS[place % len(INKS)],
        )
        for place, (name, one) in enumerate(zip(names, report.runs, strict=True))
    ]
    lines += ["", "validation loss" if by_valid else "training loss"]
    return "\n".join([*lines, *indented("\n".join(draw_curves(series, width=width - 2, color=color)))])


def run_names(paths: list[str]) -> list[str]:
    """The paths without the folders that all of them begin with."""
    parts = [path.rstrip("/").split("/") for path in paths]
    shared = 0
    while all(len(one) > shared + 1 and one[shared] == parts[0][shared] for one in parts):
        shared += 1
    return [visible("/".join(one[shared:])) for one in parts]


def _figures(name: str, run: RunRow, by_valid: bool) -> tuple[str, ...]:
    lowest = run.lowest_valid_loss if by_valid else run.lowest_loss
    return (
        name,
        f"{run.steps:,}",
        _or_dash(run.tokens, format_count),
        _or_dash(run.seconds, format_seconds),
        _or_dash(run.tokens_per_second, format_count),
        _or_dash(run.memory_bytes, format_bytes),
        *(
            _or_dash(loss, lambda value: f"{value:.4f}")
            for loss in (run.last_loss, run.last_valid_loss, lowest)
        ),
    )


def _or_dash(value: Any, form: Any) -> str:
    return "-" if value is None else str(form(value))


def _short(value: Any) -> str:
    text = (
        f"{value:.6g}"
        if isinstance(value, float)
        else visible("-" if value is None else setting_words(value))
    )
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
