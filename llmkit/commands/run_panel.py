"""A training run while it goes on, on a terminal: how far it is, its figures, and the curve of its loss."""

import math
import time
from typing import TYPE_CHECKING

from llmkit.commands.plot import Series, draw_curves
from llmkit.commands.values import format_left

if TYPE_CHECKING:
    from rich.text import Text

LEAST_ROWS = 16
"""Rows of a terminal that the panel needs, so that notes still have room above it."""
_ROWS, _WIDEST = 6, 100
_POINTS = 512
_BAR = 30


class RunPanel:
    """A Progress that is drawn in place, a few times a second, and gone when the run is over.

    Of the figures it is told, `loss` and `valid` are drawn as curves too.
    """

    def __init__(self, task: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._task = task
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._first: tuple[float, float] | None = None
        self._done, self._total, self._fields = 0.0, 0.0, dict[str, float | str]()
        self._loss = Curve(_POINTS)
        self._valid = Curve(_POINTS)
        self._live = Live(
            get_renderable=self._render, console=self._console, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> "RunPanel":
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
        """See Progress."""
        if self._first is None or (total or 0.0) != self._total:  # other work: its pace is its own
            self._first = (time.monotonic(), done)
        self._done, self._total = done, total or 0.0
        if "loss" in fields:
            self._loss.add(done, float(fields["loss"]))
        if "valid" in fields and fields["valid"] != self._fields.get("valid"):
            self._valid.add(done, float(fields["valid"]))
        self._fields = fields

    def note(self, message: str) -> None:
        """A line above the panel, which stays."""
        self._console.print(message)

    def lines(self, width: int) -> list[str]:
        """What is shown, with escape codes, at most `width` columns wide."""
        width = min(width, _WIDEST)
        done, total = self._done, self._total
        head = f"{self._task} {done:,.0f}"
        if total:
            full = round(_BAR * done / total)
            bar = "━" * full + "\x1b[2m" + "━" * (_BAR - full) + "\x1b[0m"
            left = format_left(self._first, (time.monotonic(), done), total)
            head = f"{self._task} {bar} {done / total:.0%}  {done:,.0f} of {total:,.0f}{left}"
        shown = [f"{name} {value}" for name, value in self._fields.items()]
        lines = [head, *_wrapped(shown, width)]
        series = [Series("loss", self._loss.points), Series("valid", self._valid.points, "o")]
        if len(self._loss.points) > 1:
            lines += draw_curves(series, width=width, height=_ROWS, color=True)
        return lines

    def _render(self) -> "Text":
        from rich.text import Text

        return Text.from_ansi("\n".join(self.lines(self._console.width)), no_wrap=True, overflow="crop")


class Curve:
    """Points in rising order of x: as they come, until there are `most`; then means of 2, of 4, and so on."""

    def __init__(self, most: int) -> None:
        self.points: list[tuple[float, float]] = []
        self._most = most
        self._stretch = 1
        self._open: list[tuple[float, float]] = []

    def add(self, x: float, y: float) -> None:
        """One more; what is not finite is left out, and a step back takes the later ones away."""
        if not math.isfinite(y):
            return
        while self.points and self.points[-1][0] >= x:
            self.points.pop()
            self._open = []
        self._open.append((x, y))
        if len(self._open) < self._stretch:
            return
        self.points.append(_mean(self._open))
        self._open = []
        if len(self.points) >= self._most:
            self.points = [_mean(self.points[at : at + 2]) for at in range(0, len(self.points), 2)]
            self._stretch *= 2


def _mean(points: list[tuple[float, float]]) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _wrapped(words: list[str], width: int) -> list[str]:
    """Words two spaces apart, as many to a line as fit."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 2 + len(word) <= width:
            lines[-1] += f"  {word}"
        else:
            lines.append(word)
    return lines
