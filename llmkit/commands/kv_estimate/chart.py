"""Memory against context, drawn in characters.

4 GiB ┤                              ⢀⣀⠤⠤⠒⠒⠉
      │                       ⣀⣀⠤⠤⠒⠊⠉⠁
3 GiB ┼╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌⣀⣀⠤⠔⠒⠊⠉╌╌╌╌╌╌╌╌╌╌╌╌╌╌
2 GiB ┤         ⣀⡠⠤⠔⠒⠉⠉
      │ ⢀⣀⡠⠤⠒⠒⠉⠉
      │⠉⠁
0 GiB ┤
      └─────────────────────────────────────
       8Ki       16Ki                   32Ki
       ╌╌ limit 3 GiB
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from llmkit.commands.plot import BLANK, DOTS
from llmkit.errors import ConfigError
from llmkit.formats.amount_text import round_step

LEAST_WIDTH, LEAST_HEIGHT = 40, 4
_LOG_FROM = 16
"""Longest over shortest context from which the x axis is logarithmic: else short ones share a column."""
_FAR_ABOVE = 4
"""A limit that is this many times the most memory is named, not drawn: it would press the curve flat."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_ROWS, _COLUMNS = 4, 2
"""Of dots in a character."""
_LIMIT = "╌"


def memory_chart(
    points: Sequence[tuple[int, int]],
    *,
    width: int,
    height: int,
    limit: int | None = None,
) -> str:
    """Lines of a plot of memory against context, without colour codes. The same points, the same text.

    Straight lines join the points, so a text length at which growth changes wants a point of its own. The x
    axis is logarithmic where contexts span much, which bends a straight line. Labels below it are points:
    64Ki is 65,536 tokens and 64k is 64,000, as flags read them.

    Args:
        points: (context in tokens, memory in bytes), contexts rising.
        width: columns, labels included; at least 40.
        height: rows of the plot itself; at least 4.
        limit: bytes that there are: a dashed line, or a note where it is far above the curve or below 0.

    Raises:
        ConfigError: no points, contexts that do not rise or are below 1, or no room to draw in.
    """
    _require_drawable(points, width, height)
    most = max(nbytes for _, nbytes in points)
    drawn_limit = limit if limit is not None and 0 <= limit <= _FAR_ABOVE * most else None
    top = max(most, drawn_limit or 0, 1)
    labels = _y_labels(top, height, drawn_limit)
    margin = max(len(label) for label in labels.values())
    columns = width - margin - 2

    cells = [[" "] * columns for _ in range(height)]
    limit_row = None if drawn_limit is None else _row(drawn_limit, top, height)
    if limit_row is not None:
        cells[limit_row] = [_LIMIT] * columns
    for row, column, character in _curve(points, top, columns, height):
        cells[row][column] = character

    lines = []
    for row in range(height):
        edge = "┼" if row == limit_row else "┤" if row in labels else "│"
        lines.append(f"{labels.get(row, ''):>{margin}} {edge}{''.join(cells[row])}")
    lines.append(f"{'':>{margin}} └{'─' * columns}")
    lines.append(f"{'':>{margin}}  {_x_labels(points, columns)}")
    if limit is not None:
        lines.append(f"{'':>{margin}}  {_limit_note(limit, drawn_limit is not None)}")
    return "\n".join(line.rstrip() for line in lines)


def _limit_note(limit: int, drawn: bool) -> str:
    amount = _amount(limit, _unit(abs(limit)))
    if drawn:
        return f"{_LIMIT * 2} limit {amount}"
    return f"limit {'below 0' if limit < 0 else 'far above'}: {amount}"


def _require_drawable(points: Sequence[tuple[int, int]], width: int, height: int) -> None:
    contexts = [context for context, _ in points]
    if not points or contexts[0] < 1 or any(left >= right for left, right in pairwise(contexts)):
        raise ConfigError(
            f"a chart needs contexts of at least 1 token that rise (found {contexts or 'none'})",
            hint="give each context once, the shortest first",
        )
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        raise ConfigError(
            f"a chart has no room in {width} columns and {height} rows",
            hint=f"at least {LEAST_WIDTH} columns and {LEAST_HEIGHT} rows",
        )


def _places(contexts: Sequence[float], points: Sequence[tuple[int, int]]) -> list[float]:
    """Where contexts stand between the first point, 0, and the last, 1; a lone point stands in the middle."""
    first, last = points[0][0], points[-1][0]
    if first == last:
        return [0.5 for _ in contexts]
    if last >= _LOG_FROM * first:
        return [math.log(context / first) / math.log(last / first) for context in contexts]
    return [(context - first) / (last - first) for context in contexts]


def _context_at(place: float, points: Sequence[tuple[int, int]]) -> float:
    """The context that stands at `place`: `_places` backwards."""
    first, last = points[0][0], points[-1][0]
    if last >= _LOG_FROM * first:
        return float(first * (last / first) ** place)
    return first + (last - first) * place


def _curve(
    points: Sequence[tuple[int, int]], top: int, columns: int, height: int
) -> Iterator[tuple[int, int, str]]:
    """(row, column, character) of the line through the points."""
    cells: dict[tuple[int, int], int] = {}
    before = None
    for x, nbytes in _samples(points, columns * _COLUMNS):
        y = _row(nbytes, top, height * _ROWS)
        start = y if before is None else before + (y > before) - (y < before)  # no gap where it is steep
        for dot in range(min(start, y), max(start, y) + 1):
            cell = dot // _ROWS, x // _COLUMNS
            cells[cell] = cells.get(cell, 0) | DOTS[dot % _ROWS][x % _COLUMNS]
        before = y
    for (row, column), dots in cells.items():
        yield row, column, chr(BLANK + dots)


def _samples(points: Sequence[tuple[int, int]], dots: int) -> Iterator[tuple[int, float]]:
    """(column of dots, bytes) from left to right."""
    if len(points) == 1:
        yield dots // 2, points[0][1]
        return
    at = 0
    for x in range(dots):
        context = _context_at(x / (dots - 1), points)
        while at < len(points) - 2 and context > points[at + 1][0]:
            at += 1
        (left, low), (right, high) = points[at], points[at + 1]
        share = min(1.0, max(0.0, (context - left) / (right - left)))
        yield x, low + (high - low) * share


def _row(nbytes: float, top: int, rows: int) -> int:
    """0 at `top`, the last row at nothing."""
    return round((1 - nbytes / top) * (rows - 1))


def _y_labels(top: int, height: int, limit: int | None) -> dict[int, str]:
    """Round amounts by row, and the limit in its row."""
    unit = _unit(top)
    scale = 1024**unit
    step = round_step(top / scale / max(2, height // 3))
    amounts = [number * step * scale for number in range(math.floor(top / scale / step + 1e-9) + 1)]
    labels = {_row(amount, top, height): _amount(amount, unit) for amount in amounts}
    if limit is not None:
        labels[_row(limit, top, height)] = _amount(limit, unit)
    return labels


def _unit(nbytes: float) -> int:
    """The largest unit of which there is one."""
    return max((power for power in range(len(_UNITS)) if nbytes >= 1024**power), default=0)


def _amount(nbytes: float, unit: int) -> str:
    """`1.5 GiB`, `12 GiB`."""
    text = f"{nbytes / 1024**unit:.2f}".rstrip("0").rstrip(".")
    return f"{text} {_UNITS[unit]}"


def _x_labels(points: Sequence[tuple[int, int]], columns: int) -> str:
    """Contexts under their points: the last and the first, and between them those that have room."""
    places = _places([context for context, _ in points], points)
    line = [" "] * columns
    order = [len(points) - 1, *range(len(points) - 1)]
    for number in order:
        label = token_label(points[number][0])
        middle = round(places[number] * (columns - 1))
        start = min(max(0, middle - len(label) // 2), columns - len(label))
        if all(mark == " " for mark in line[max(0, start - 1) : start + len(label) + 1]):
            line[start : start + len(label)] = label
    return "".join(line)


def token_label(tokens: int) -> str:
    """A number of tokens, short and exact, as flags read it: 8Ki, 1Mi, 8k, 1,500."""
    for factor, suffix in ((10**6, "M"), (1024**2, "Mi"), (1000, "k"), (1024, "Ki")):
        if tokens and tokens % factor == 0:
            return f"{tokens // factor:,}{suffix}"
    return f"{tokens:,}"
