"""What a hundred updates told of a run, for people: a few facts and the curve."""

import math
from typing import Any

from llmkit.commands.facts import plural
from llmkit.commands.plot import Series, draw_curves
from llmkit.commands.shared import align
from llmkit.commands.terminal import text_width
from llmkit.commands.values import format_seconds


def describe_trial(report: Any) -> str:
    """An OverfitReport or a FindLrReport."""
    if report.schema.startswith("llmkit.pretrain-overfit/"):
        return _overfit(report)
    return _find_lr(report)


def _overfit(report: Any) -> str:
    rows: list[tuple[str, ...]] = [
        ("batch", f"{plural(report.rows, 'row')}, {plural(report.tokens, 'target')}"),
        ("rate", f"{report.lr:g}"),
        ("loss", f"{report.first_loss:.4f} to {report.loss:.4f} in {plural(len(report.curve), 'update')}"),
        ("time", format_seconds(report.seconds)),
    ]
    curve = Series("loss, by update", [(one.step, one.loss) for one in report.curve])
    return "\n".join([align(rows), "", *draw_curves([curve], width=text_width())])


def _find_lr(report: Any) -> str:
    none = "none: the loss never fell"
    end = report.curve[-1].lr
    rows: list[tuple[str, ...]] = [
        ("optimiser", report.optimizer),
        ("steepest", none if report.steepest_lr is None else f"{report.steepest_lr:.2g}"),
        ("lowest", f"{report.lowest_lr:.2g}"),
        ("suggested", none if report.suggested_lr is None else f"--lr {report.suggested_lr:g}"),
        ("now", f"{report.run_lr:g}"),
        ("ended", f"at {end:.2g}, the loss above its first" if report.diverged else f"at {end:.2g}"),
        ("time", format_seconds(report.seconds)),
    ]
    points = [(math.log10(one.lr), one.smoothed) for one in report.curve]
    curve = Series("smoothed loss, by log10 of the rate", points)
    return "\n".join([align(rows), "", *draw_curves([curve], width=text_width())])
