"""stderr, for people: notes, progress and warnings. stdout belongs to the result and is never touched.

A bar is drawn only when stderr is a terminal; a file or a CI log gets a plain line each `log_every` seconds.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

import msgspec

from llmkit.commands.run_panel import LEAST_ROWS, RunPanel
from llmkit.commands.values import format_left
from llmkit.progress import SILENT, Progress

ColorChoice = Literal["auto", "always", "never"]


class Console(msgspec.Struct, frozen=True):
    """How much to say on stderr, and whether in colour."""

    quiet: bool = False
    verbose: bool = False
    color: ColorChoice = "auto"

    def note(self, message: str) -> None:
        """One line on stderr, unless --quiet."""
        if not self.quiet:
            print(message, file=sys.stderr, flush=True)

    def detail(self, message: str) -> None:
        """One line on stderr that only --verbose shows."""
        if self.verbose and not self.quiet:
            print(message, file=sys.stderr, flush=True)

    def uses_color(self, stream: TextIO) -> bool:
        """Whether escape codes may go to this stream: flag first, then the environment, then the terminal."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return False
        if os.environ.get("FORCE_COLOR") and os.environ.get("GITHUB_ACTIONS") is None:
            return True
        return stream.isatty()

    @contextmanager
    def progress(self, task: str, *, log_every: float = 10.0, panel: bool = False) -> Iterator[Progress]:
        """A listener for one task: a bar on a terminal, seldom lines elsewhere, nothing under --quiet.

        With `panel`, a terminal that is high enough gets the curve of the loss too.

        Where escape codes are not wanted (NO_COLOR, --color never) a terminal gets lines too.
        """
        if self.quiet:
            yield SILENT
        elif sys.stderr.isatty() and self.uses_color(sys.stderr):  # a bar is drawn with escape codes
            with _panel_or_bar(task, panel) as drawn:
                yield drawn
        else:
            yield _Lines(task, log_every)


def _panel_or_bar(task: str, panel: bool) -> "RunPanel | _Bar":
    if panel and shutil.get_terminal_size().lines >= LEAST_ROWS:
        return RunPanel(task)
    return _Bar(task)


def format_fields(fields: dict[str, float | str]) -> str:
    """`loss 2.31  tokens_per_second 41,200`, short enough for one line."""
    return "  ".join(f"{name} {_shown(value)}" for name, value in fields.items())


def _shown(value: float | str) -> str:
    """A figure: a count in full, a measure to four digits, and to the point where that is further."""
    if isinstance(value, str):
        return value
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    )


class _Lines:
    """Progress as plain lines, at most one each `log_every` seconds."""

    def __init__(self, task: str, log_every: float) -> None:
        self._task = task
        self._log_every = log_every
        self._last = time.monotonic()
        self._first: tuple[float, float] | None = None

    def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
        now = time.monotonic()
        self._first = self._first or (now, done)
        if now - self._last < self._log_every:
            return
        self._last = now
        share = f"{done / total:.0%}" if total else f"{done:,.0f}"
        left = format_left(self._first, (now, done), total) if total else ""
        print(f"{self._task} {share}  {format_fields(fields)}{left}".rstrip(), file=sys.stderr, flush=True)

    def note(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)


class _Bar:
    """Progress as a live bar, drawn by rich, at most ten times a second."""

    def __init__(self, task: str) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=RichConsole(stderr=True, highlight=False, markup=False),
            transient=True,
        )
        self._task = self._bar.add_task(task, total=None, figures="")

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
        self._bar.update(self._task, completed=done, total=total, figures=format_fields(fields))

    def note(self, message: str) -> None:
        self._bar.console.print(message)
