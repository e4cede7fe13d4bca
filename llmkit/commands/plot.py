"""Curves in a terminal, drawn with Unicode braille: eight dots to a character, no dependency.

5 ┤⢣
  │ ⢣
4 ┤  ⠱⡀
  │   ⠑o⢄
3 ┤     ⠈⠉⠒o⠤⠤⣀⣀o
  └────────────────
   0             400
   ⠤⠤ train   o valid
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character, by row and column."""
BLANK = 0x2800
"""The character without a dot."""
_CYAN, _YELLOW, _RESET = "\x1b[36m", "\x1b[33m", "\x1b[0m"
INKS = (_CYAN, _YELLOW, "\x1b[35m", "\x1b[32m", "\x1b[34m", "\x1b[31m")
"""Colours that tell several lines apart."""


@dataclass(frozen=True)
class Series:
    """Points (x, y) in rising order of x. With `marker`, one character a point; else a line of dots."""

    name: str
    points: Sequence[tuple[float, float]]
    marker: str = ""
    ink: str = ""
    """An escape code that begins its colour; none: one for lines, another for markers."""

    @property
    def color(self) -> str:
        """The escape code that begins it."""
        return self.ink or (_YELLOW if self.marker else _CYAN)


def draw_curves(
    series: Sequence[Series], *, width: int = 80, height: int = 12, color: bool = False
) -> list[str]:
    """The lines of a plot that is at most `width` columns wide.

    Points that are not finite are left out. A line shows the mean of the points that share a column of dots.

    Args:
        series: what to draw; the last one lies on top.
        width: columns, labels included.
        height: rows of the plot itself, without the axis and the legend.
        color: with escape codes, a colour for each series.
    """
    drawn = [replace(one, points=_finite(one.points)) for one in series]
    drawn = [one for one in drawn if one.points]
    if not drawn:
        return ["(no finite points to draw)"]
    low, high = _range([y for one in drawn for _, y in one.points])
    ticks = _ticks(low, high, most=max(2, height // 2))
    left, right = _range([x for one in drawn for x, _ in one.points], margin=0.5)
    margin = max(len(label) for label in _labels(ticks))
    columns = max(8, width - margin - 2)

    cells = [[" "] * columns for _ in range(height)]
    inks = [[""] * columns for _ in range(height)]
    for one in drawn:
        places = [
            ((x - left) / (right - left) * (2 * columns - 1), (high - y) / (high - low) * (4 * height - 1))
            for x, y in one.points
        ]
        draw = _marked(places, one.marker) if one.marker else _lined(places)
        for row, column, character in draw:
            cells[row][column] = character
            inks[row][column] = one.color

    at_row = {round((high - tick) / (high - low) * (height - 1)): tick for tick in ticks}
    labels = dict(zip(at_row, _labels(list(at_row.values())), strict=True))
    lines = [
        f"{labels.get(row, ''):>{margin}} {'┤' if row in labels else '│'}"
        + _paint(cells[row], inks[row], color)
        for row in range(height)
    ]
    lines.append(f"{'':>{margin}} └{'─' * columns}")
    lines.append(f"{'':>{margin}}  {_x_labels(left, right, columns - 1)}")
    keys = [(one.marker or "⠤⠤", one.name, one.color) for one in drawn]
    legend = "   ".join(f"{ink if color else ''}{mark}{_RESET if color else ''} {n}" for mark, n, ink in keys)
    taken = sum(len(mark) + 1 + len(name) for mark, name, _ in keys) + 3 * (len(keys) - 1)
    lines.append(" " * max(0, min(margin + 2, width - taken)) + legend)  # a long one begins further left
    return lines


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _range(values: list[float], margin: float | None = None) -> tuple[float, float]:
    """Lowest and highest, apart even where all values are one: by a twentieth of it, or `margin`."""
    low, high = min(values), max(values)
    if margin is None:
        margin = 0.05 * abs(low) or 0.05
    return (low, high) if high > low else (low - margin, high + margin)


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from `low` to `high`, about `most` of them and one at least."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    ticks: list[float] = []
    for factor in (10, 5, 2, 1):  # the widest may fall beside a range, as 5 and 10 beside 5.5 to 9.9
        step = power * factor
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if ticks and step < rough * 0.999:
            break
        ticks = [number * step for number in range(first, last + 1)]
    return ticks


def _labels(ticks: Sequence[float]) -> list[str]:
    """The numbers with as many decimals as tell them apart."""
    gap = min((b - a for a, b in pairwise(sorted(ticks))), default=abs(ticks[0]) or 1.0)
    for decimals in range(13):
        labels = [f"{tick:.{decimals}f}" for tick in ticks]
        if all(abs(float(label) - tick) < gap / 100 for label, tick in zip(labels, ticks, strict=True)):
            return labels
    return [f"{tick:.3g}" for tick in ticks]


def _lined(places: list[tuple[float, float]]) -> Iterator[tuple[int, int, str]]:
    """(row, column, braille character) of a line through places in units of dots."""
    columns: dict[int, list[float]] = {}
    for x, y in places:
        columns.setdefault(round(x), []).append(y)
    means = [(x, sum(ys) / len(ys)) for x, ys in sorted(columns.items())]
    cells: dict[tuple[int, int], int] = {}
    for x, y in _joined(means):
        cells[y // 4, x // 2] = cells.get((y // 4, x // 2), 0) | DOTS[y % 4][x % 2]
    for (row, column), dots in cells.items():
        yield row, column, chr(BLANK + dots)


def _joined(points: list[tuple[int, float]]) -> Iterator[tuple[int, int]]:
    """The dots of the straight lines from point to point."""
    x, y = points[0]
    yield x, round(y)
    for next_x, next_y in points[1:]:
        steps = max(next_x - x, round(abs(next_y - y)), 1)
        for step in range(1, steps + 1):
            share = step / steps
            yield round(x + (next_x - x) * share), round(y + (next_y - y) * share)
        x, y = next_x, next_y


def _marked(places: list[tuple[float, float]], marker: str) -> Iterator[tuple[int, int, str]]:
    for x, y in places:
        yield round(y) // 4, round(x) // 2, marker


def _paint(cells: list[str], inks: list[str], color: bool) -> str:
    """One row as text, with an escape code only where the colour changes."""
    if not color:
        return "".join(cells).rstrip()
    painted, ink = "", ""
    for cell, wanted in zip(cells, inks, strict=True):
        if wanted != ink:
            painted += wanted or _RESET
            ink = wanted
        painted += cell
    return painted + (_RESET if ink else "")


def _x_labels(left: float, right: float, columns: int) -> str:
    """The ends of the x axis, and its middle where there is room."""
    first, middle, last = (f"{value:,.0f}" for value in (left, (left + right) / 2, right))
    if right - left == 1 and left % 1:  # one point, which stands in the middle
        return f"{middle:^{columns}}".rstrip()
    if right - left < 4 or columns < len(first) + len(middle) + len(last) + 8:
        return f"{first}{last:>{max(0, columns - len(first)) + 1}}"
    start = columns // 2 - len(middle) // 2
    line = f"{first}{middle:>{start + len(middle) - len(first)}}"
    return f"{line}{last:>{columns + 1 - len(line)}}"
