"""The panel of a run on a terminal: its lines, its curve, and that it is gone afterwards."""

import os
import pty
import re
import select

import pytest

from llmkit.commands import run_panel
from llmkit.commands.run_panel import Curve, RunPanel

ESCAPES = re.compile("\x1b\\[[0-9;?]*[a-zA-Z]")


def lines_of(panel: RunPanel, width: int = 80) -> list[str]:
    return [ESCAPES.sub("", line) for line in panel.lines(width)]


def test_the_panel_says_how_far_how_fast_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(run_panel.time, "monotonic", lambda: now[0])
    panel = RunPanel("pretraining")
    panel.update(1, 9, loss="3.0000")
    now[0] += 8.0
    panel.update(3, 9, loss="2.5000", valid="2.6000", **{"tok/s": "6,800", "MFU": "31.0%"})
    lines = lines_of(panel)
    assert lines[0] == "pretraining ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 33%  3 of 9  24.0 s left"
    assert lines[1] == "loss 2.5000  valid 2.6000  tok/s 6,800  MFU 31.0%"
    assert lines[-1].split() == ["⠤⠤", "loss", "o", "valid"] and any("o" in line for line in lines[2:-1])
    narrow = lines_of(panel, 40)
    assert narrow[1:3] == ["loss 2.5000  valid 2.6000  tok/s 6,800", "MFU 31.0%"]


def test_work_that_is_no_run_has_no_curve_and_a_pace_of_its_own() -> None:
    panel = RunPanel("pretraining")
    panel.update(500)
    assert lines_of(panel) == ["pretraining 500"]
    panel.update(1, 10, loss="2.0")
    assert "left" not in lines_of(panel)[0]  # 500 was of something else


def test_a_curve_keeps_a_few_means_of_many_points_and_goes_back() -> None:
    curve = Curve(8)
    for x in range(1, 33):
        curve.add(x, 2.0 * x)
    assert len(curve.points) < 8 and all(y == 2 * x for x, y in curve.points)
    assert curve.points[0][0] == pytest.approx(4.5)  # the mean of steps 1 to 8
    curve.add(10, 1.0)
    assert all(x < 10 for x, _ in curve.points)
    before = list(curve.points)
    curve.add(11, float("nan"))
    assert curve.points == before


def test_it_is_drawn_in_place_and_notes_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    main, terminal = pty.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    with os.fdopen(terminal, "w") as stream, monkeypatch.context() as patch:
        patch.setattr("sys.stderr", stream)
        with RunPanel("pretraining") as panel:
            panel.update(1, 2, loss="3.0")
            panel.update(2, 2, loss="2.5")
            panel.note("step 2: [saved]")
        stream.flush()
        content = b""
        while select.select([main], [], [], 0.2)[0]:  # a terminal hands its text on in pieces
            content += os.read(main, 1 << 16)
        seen = content.decode()
    os.close(main)
    assert "step 2: [saved]" in seen and "2 of 2" in seen
    assert seen.rstrip().endswith("\x1b[2K")  # the last thing is that its lines are wiped
