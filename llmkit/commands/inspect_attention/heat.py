"""Maps and texts shaded in a terminal: half blocks of 24-bit colour, or characters where colour is off.

A half block is two cells: its own colour is the upper one's, its background the lower one's.
"""

from collections.abc import Sequence

from llmkit.formats.png import Color
from llmkit.workflows.inspect_attention.colors import Shades, character_of, color_of, shades
from llmkit.workflows.inspect_attention.report import MapPart, TokenRow

RESET = "\x1b[0m"
MARGIN = 14
"""Columns for the names of queries."""
_NAME = MARGIN - 2


def map_lines(part: MapPart, tokens: Sequence[TokenRow], *, scores: bool, color: bool) -> list[str]:
    """A head's map: queries downwards, keys to the right; what each line is, and where columns are.

    Args:
        part: from the report.
        tokens: of the text.
        scores: whether values are scores and not weights.
        color: two queries a line in colour; else one, in characters.
    """
    cells = shades(
        [[-float("inf") if one is None else one for one in row] for row in part.values], scores=scores
    )
    step = 2 if color else 1
    lines = []
    for top in range(0, len(cells), step):
        name = _name(part.rows[top], part.rows[top + 1] - part.rows[top], tokens)
        lines.append(f"{name:>{_NAME}}  {_blocks(cells, top) if color else _characters(cells[top])}".rstrip())
    return [*lines, " " * MARGIN + _axis(part.cols)]


def key_line(*, scores: bool, color: bool) -> str:
    """What the shades mean."""
    ends = ("lowest", "highest") if scores else ("0", "1")
    steps = [one / 19 for one in range(20)]
    bar = "".join(f"{_background(color_of(one))} " for one in steps) + RESET
    if not color:
        bar = "".join(dict.fromkeys(character_of(one) for one in steps))
    what = "score before the softmax" if scores else "weight, by its root"
    return f"{ends[0]} {bar} {ends[1]}  {what}; the largest of each cell"


def shaded_text(weights: Sequence[float], texts: Sequence[str], *, color: bool, width: int) -> list[str]:
    """Tokens of a text, each on a background of its weight; with colour off, {braces} around the strongest.

    Lines break between tokens.
    """
    strongest = sorted(weights, reverse=True)[:3][-1] if weights else 0.0
    lines, line, used = [], "", 0
    for weight, text in zip(weights, texts, strict=True):
        shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
        marked = weight >= max(strongest, 0.05)
        plain = f"{{{shown}}}" if marked and not color else shown
        if used and used + len(plain) > width:
            lines.append(line)
            line, used = "", 0
        line += _painted(shown, weight) if color else plain
        used += len(plain)
    return [*lines, line] if line else lines


def _painted(text: str, weight: float) -> str:
    shade = min(1.0, max(0.0, weight)) ** 0.5
    ink = (0, 0, 0) if shade > 0.65 else (235, 235, 235)
    return f"{_background(color_of(shade))}{_foreground(ink)}{text}{RESET}"


def _blocks(cells: Shades, top: int) -> str:
    """Two rows of cells, with an escape code only where a colour changes."""
    below: list[Color | None] = [None] * len(cells[top])
    if top + 1 < len(cells):
        below = [color_of(one) for one in cells[top + 1]]
    line, last = "", ("", "")
    for upper, lower in zip(map(color_of, cells[top]), below, strict=True):
        codes = (_foreground(upper), "\x1b[49m" if lower is None else _background(lower))
        line += "".join(code for code, before in zip(codes, last, strict=True) if code != before) + "▀"
        last = codes
    return line + RESET


def _characters(cells: Sequence[float | None]) -> str:
    return "".join(character_of(one) for one in cells)


def _name(query: int, count: int, tokens: Sequence[TokenRow]) -> str:
    """A query's number and text; of several in one cell the first one's number."""
    if count > 1:
        return f"{query}-{query + count - 1}"
    text = tokens[query].text
    shown = text if text.isprintable() else text.encode("unicode_escape").decode()
    room = _NAME - len(f"{query} ")
    return f"{shown if len(shown) <= room else shown[: room - 1] + '…'} {query}"


def _axis(cols: Sequence[int]) -> str:
    """Positions of keys under every tenth column."""
    line = ""
    for column in range(0, len(cols) - 1, 10):
        line = line.ljust(column) + f"^{cols[column]}"
    return line


def _foreground(color: Color) -> str:
    return "\x1b[38;2;{};{};{}m".format(*color)


def _background(color: Color) -> str:
    return "\x1b[48;2;{};{};{}m".format(*color)
