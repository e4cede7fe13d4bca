import io
import os
import pty
import subprocess
import sys
import time

import pytest

from llmkit.commands import console as commands_console
from llmkit.commands.console import Console, format_fields
from llmkit.commands.run_panel import RunPanel

BAR = """
import time
from llmkit.commands.console import Console
with Console({settings}).progress("packing", log_every=0) as progress:
    for done in range(3):
        progress.update(done, 3, loss=2.5)
    progress.note("a note")
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("choice", "environment", "terminal", "expected"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"GITHUB_ACTIONS": "1"}, False, False),
        ("auto", {"GITHUB_ACTIONS": "1", "FORCE_COLOR": "1"}, False, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_the_flag_decides_then_the_environment_then_the_terminal(
    monkeypatch: pytest.MonkeyPatch, choice, environment: dict[str, str], terminal: bool, expected: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = Terminal() if terminal else io.StringIO()
    assert Console(color=choice).uses_color(stream) is expected


def test_quiet_says_nothing_and_verbose_says_more(capsys) -> None:
    for console in (Console(), Console(quiet=True), Console(verbose=True)):
        console.note("note")
        console.detail("detail")
    assert capsys.readouterr().err == "note\nnote\ndetail\n"


def test_off_a_terminal_progress_is_plain_lines_seldom(capsys) -> None:
    with Console().progress("packing", log_every=3600) as progress:
        progress.update(1, 10)
        progress.note("saved")
    assert capsys.readouterr().err == "saved\n"
    with Console().progress("packing", log_every=0) as progress:
        progress.update(0, 10)
        time.sleep(0.01)
        progress.update(5, 10, loss=2.25, tokens_per_second=41234.5, state="ok")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("packing 0%") and second.startswith(
        "packing 50%  loss 2.25  tokens_per_second 41,234  state ok"
    )
    assert second.endswith(" left")
    with Console(quiet=True).progress("packing", log_every=0) as progress:
        progress.update(5, 10)
        progress.note("saved")
    assert capsys.readouterr().err == ""


def test_fields_are_short() -> None:
    assert format_fields({"loss": 1 / 3, "at": "x"}) == "loss 0.3333  at x"
    assert format_fields({"documents": 40_123, "rate": 1e-5, "nan": float("nan")}) == (
        "documents 40,123  rate 1e-05  nan nan"
    )


def _on_a_terminal(settings: str, **environment: str) -> str:
    """What BAR writes to a terminal on stderr."""
    main, terminal = pty.openpty()
    keep = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-c", BAR.format(settings=settings)],
        stderr=terminal,
        env={**keep, "TERM": "xterm", **environment},
    ) as running:
        os.close(terminal)
        seen = b""
        while True:
            try:
                piece = os.read(main, 4096)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        running.wait()
    os.close(main)
    return seen.decode()


def test_on_a_terminal_progress_is_a_bar_with_its_figures() -> None:
    seen = _on_a_terminal("")
    assert "\x1b[" in seen and "packing" in seen and "loss 2.5" in seen and "a note" in seen


def test_where_colour_is_off_a_terminal_gets_not_one_escape_byte() -> None:
    for seen in (
        _on_a_terminal("", NO_COLOR="1"),
        _on_a_terminal("", TERM="dumb"),
        _on_a_terminal("color='never'"),
    ):
        assert "\x1b" not in seen and "packing" in seen and "a note" in seen


def test_a_low_terminal_has_a_bar_where_a_high_one_has_a_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    for lines, panel, drawn in (
        (40, True, RunPanel),
        (10, True, commands_console._Bar),
        (40, False, commands_console._Bar),
    ):
        size = os.terminal_size((80, lines))
        monkeypatch.setattr(commands_console.shutil, "get_terminal_size", lambda size=size: size)
        assert type(commands_console._panel_or_bar("task", panel)) is drawn
