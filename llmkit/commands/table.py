"""A table within the columns of a terminal: a row that is wider goes on below, broken between cells.

Off a terminal nothing is folded: a row is a line, for `grep` and `cut`.
"""

from collections.abc import Iterator, Sequence

from llmkit.commands.terminal import columns_of, wrap_words

GAP, CONTINUED = 2, 2
"""Columns between cells, and before the second line of a row."""
LEAST_OF_A_TEXT = 20
"""With less room than this beside the other cells, a text that ends a row goes below them."""

Row = Sequence[str]


def table_lines(rows: Sequence[Row], *, right: tuple[int, ...] = (), room: int | None = None) -> list[str]:
    """Rows as columns two spaces apart; the columns numbered in `right` are flush right.

    In a `room` that is too narrow the first columns stand in one line, the next in a second one below it, and
    so on, for all rows alike. Words of a last column that is not flush right are wrapped within their column.
    A cell is never broken within a word: one that is wider than the room stands out.

    Args:
        rows: as many cells each, without control characters.
        right: numbers of the columns that are flush right.
        room: the columns that there are; None: as many as are needed.
    """
    widths = [max(map(columns_of, column)) for column in zip(*rows, strict=True)]
    if room is None or sum(widths) + GAP * (len(widths) - 1) <= room:
        return [_line(row, widths, right, range(len(widths))) for row in rows]
    flows = len(widths) - 1 not in right
    parts = list(_parts(widths, flows, room))
    if flows:
        last = parts[-1]
        before = sum(widths[number] + GAP for number in last[:-1]) + (CONTINUED if last[0] else 0)
        widths[-1] = min(widths[-1], max(room - before, LEAST_OF_A_TEXT))
    return [line for row in rows for line in _folded(row, widths, right, parts, flows)]


def _parts(widths: Sequence[int], flows: bool, room: int) -> Iterator[list[int]]:
    """The columns of each line of a row, as many as it has room for."""
    part: list[int] = []
    taken = 0
    for number, width in enumerate(widths):
        least = min(width, LEAST_OF_A_TEXT) if flows and number == len(widths) - 1 else width
        if part and taken + GAP + least > room:
            yield part
            part, taken = [], CONTINUED - GAP
        taken += least + (GAP if part or number else 0)
        part.append(number)
    yield part


def _folded(
    row: Row, widths: Sequence[int], right: tuple[int, ...], parts: Sequence[Sequence[int]], flows: bool
) -> Iterator[str]:
    """The lines of a row; one in which nothing stands is left out."""
    texts = wrap_words(row[-1], widths[-1]) if flows else [row[-1]]
    for part in parts:
        before = " " * CONTINUED if part[0] else ""
        for place, text in enumerate(texts if part is parts[-1] else ("",)):
            cells = [*row[:-1], text] if place == 0 else [""] * (len(row) - 1) + [text]
            line = (before + _line(cells, widths, right, part)).rstrip()
            if line or part is parts[0]:
                yield line


def _line(row: Row, widths: Sequence[int], right: tuple[int, ...], columns: Sequence[int]) -> str:
    cells = []
    for number in columns:
        blank = " " * (widths[number] - columns_of(row[number]))
        cells.append(blank + row[number] if number in right else row[number] + blank)
    return (" " * GAP).join(cells).rstrip()
