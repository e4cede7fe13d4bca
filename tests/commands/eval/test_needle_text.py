"""The grid in characters."""

import re
from typing import Any

from llmkit.commands.eval.needle_text import needle_text
from llmkit.probe.evaluate.grid import LengthScore, task_grid
from llmkit.probe.evaluate.headline import Headline
from llmkit.workflows.eval.needle import NeedleReport


def needle_report(**given: Any) -> NeedleReport:
    """Two lengths, three depths; and a task without depth."""
    scores = [(64, 0.0, 1.0), (64, 50.0, 0.5), (64, 100.0, 1.0), (128, 0.0, 0.0), (128, 50.0, 0.0)]
    grids = [
        task_grid("needle", [*scores, (128, 100.0, 1.0)], threshold=80),
        task_grid("vt", [(64, None, 1.0), (128, None, 0.4)], threshold=80),
    ]
    values: dict[str, Any] = {
        "model": "run", "rope_scaling": None, "context": 128, "seed": 0, "threshold": 80.0, "tasks": grids,
        "lengths": [LengthScore(length=64, score=91.7), LengthScore(length=128, score=36.7)],
        "effective_length": 64, "score": 64.2, "samples": 8, "seconds": 1.0, "notes": (),
        "work": {},
        "headline": Headline(name="needle_score", value=64.2, error=1.0, better="higher"),
    }  # fmt: skip
    return NeedleReport(**{**values, **given})


def test_rows_are_depths_and_columns_lengths() -> None:
    text = needle_text(needle_report())
    assert "\x1b" not in text
    rows = [line.split() for line in text.splitlines()]
    assert ["needle", "64", "128"] in rows
    assert ["0", "%", "█", "100", "0"] in rows
    assert ["50", "%", "▒", "50", "0"] in rows
    assert ["mean", "83", "33", "effective", "64"] in rows
    assert ["all", "█", "100", "▒", "40"] in rows


def test_colours_change_no_number() -> None:
    plain = re.sub("[ ░▒▓█]", "", needle_text(needle_report()))
    color = needle_text(needle_report(), color=True)
    assert "\x1b[38;2;0;0;0;48;2;66;160;92m" in color
    assert re.sub("[ ░▒▓█]", "", re.sub("\x1b\\[[0-9;]*m", "", color)) == plain


def test_a_model_that_uses_nothing_is_told_so() -> None:
    text = needle_text(needle_report(effective_length=None, rope_scaling="yarn:4"))
    assert "none: no length reaches 80 %" in text and "rope scaling yarn:4" in text
