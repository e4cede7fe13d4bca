"""Maps of heads as pictures: PNG for anything, SVG with the tokens' names where there is room."""

import math
from collections import Counter
from collections.abc import Sequence
from html import escape

from llmkit.formats.png import Color, png_bytes
from llmkit.probe.attention.region import RegionMap
from llmkit.workflows.inspect_attention.colors import Shades, color_of, shades
from llmkit.workflows.inspect_attention.report import TokenRow

PNG_CELLS, SVG_CELLS = 512, 96
"""Most rows and columns of a head's map."""
_PANEL = 240
"""Pixels that a map of fewer cells is made as large as."""
_GAP, _LABEL = 12, 14
_PAPER: Color = (24, 25, 28)
_INK: Color = (230, 230, 230)
_ABREAST = 16
_LETTERS = 10
"""Pixels of a row that has a name."""
_NAMED = 48
"""Up to so many rows a map has its tokens' names."""
_FONT = {  # five rows of three dots each
    **{"0": (7, 5, 5, 5, 7), "1": (2, 6, 2, 2, 7), "2": (7, 1, 7, 4, 7), "3": (7, 1, 7, 1, 7)},
    **{"4": (5, 5, 7, 1, 1), "5": (7, 4, 7, 1, 7), "6": (7, 4, 7, 5, 7), "7": (7, 1, 1, 1, 1)},
    **{"8": (7, 5, 7, 5, 7), "9": (7, 5, 7, 1, 7), ".": (0, 0, 0, 0, 2)},
}


def png_picture(maps: Sequence[RegionMap], *, scores: bool) -> bytes:
    """Heads side by side, LAYER.HEAD above each; the first query at the top, the first key at the left."""
    panels = [shades(one.values.tolist(), scores=scores) for one in maps]
    zoom = max(1, _PANEL // max(len(panels[0]), len(panels[0][0])))
    height, width = len(panels[0]) * zoom, len(panels[0][0]) * zoom
    columns = _columns(maps)
    lines = -(-len(panels) // columns)
    step_down, step_right = height + _LABEL + _GAP, width + _GAP
    canvas = [[_PAPER] * (_GAP + columns * step_right) for _ in range(_GAP + lines * step_down)]
    for place, (one, panel) in enumerate(zip(maps, panels, strict=True)):
        top, left = _GAP + place // columns * step_down, _GAP + place % columns * step_right
        _write(canvas, f"{one.layer}.{one.head}", top, left)
        for row, cells in enumerate(panel):
            painted = [color for shade in cells for color in [color_of(shade)] * zoom]
            for line in range(zoom):
                canvas[top + _LABEL + row * zoom + line][left : left + width] = painted
    return png_bytes(canvas)


def _columns(maps: Sequence[RegionMap]) -> int:
    """A layer a line where all have as many heads and not too many; else a square."""
    counts = Counter(one.layer for one in maps)
    even = len(set(counts.values())) == 1 and len(counts) > 1
    each = next(iter(counts.values()))
    return each if even and 1 < each <= _ABREAST else math.ceil(math.sqrt(len(maps)))


def _write(canvas: list[list[Color]], text: str, top: int, left: int) -> None:
    """Digits and full stops, two pixels a dot."""
    for character in text:
        for row, dots in enumerate(_FONT[character]):
            for column in range(3):
                if dots >> (2 - column) & 1:
                    for y in (0, 1):
                        for x in (0, 1):
                            canvas[top + row * 2 + y][left + column * 2 + x] = _INK
        left += 8


def svg_picture(maps: Sequence[RegionMap], tokens: Sequence[TokenRow], *, scores: bool) -> str:
    """The same as shapes and text, for print: cells at no weight are left out."""
    panels = [shades(one.values.tolist(), scores=scores) for one in maps]
    named = len(panels[0]) <= _NAMED and maps[0].rows[-1] - maps[0].rows[0] == len(panels[0])
    cell = max(_LETTERS if named else 3, _PANEL // max(len(panels[0]), len(panels[0][0])))
    margin = 90 if named else 0
    height, width = len(panels[0]) * cell, len(panels[0][0]) * cell
    columns = _columns(maps)
    lines = -(-len(panels) // columns)
    step_down, step_right = height + 34, margin + width + 20
    whole = (20 + columns * step_right, 10 + lines * step_down)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole[0]}" height="{whole[1]}" '
        f'viewBox="0 0 {whole[0]} {whole[1]}" font-family="monospace" font-size="{min(11, cell + 2)}">',
        f'<rect width="100%" height="100%" fill="{_hex(_PAPER)}"/>',
    ]
    for place, (one, panel) in enumerate(zip(maps, panels, strict=True)):
        top, left = 26 + place // columns * step_down, 20 + margin + place % columns * step_right
        parts.append(
            f'<text x="{left}" y="{top - 8}" font-size="12" fill="{_hex(_INK)}">'
            f"layer {one.layer} head {one.head}</text>"
        )
        parts.append(
            f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="{_hex(color_of(0))}"/>'
        )
        parts += _cells(panel, one, cell, top, left)
        if named:
            parts += [
                f'<text x="{left - 4}" y="{top + row * cell + cell * 0.8:g}" text-anchor="end" '
                f'fill="{_hex(_INK)}">{escape(_short(tokens[query].text))}</text>'
                for row, query in enumerate(one.rows[:-1])
            ]
    return "\n".join([*parts, "</svg>", ""])


def _cells(panel: Shades, one: RegionMap, cell: int, top: int, left: int) -> list[str]:
    found = []
    for row, shaded in enumerate(panel):
        for column, shade in enumerate(shaded):
            if shade is None or shade > 1 / 255:
                number = float(one.values[row, column])
                title = (
                    ""
                    if shade is None
                    else f"<title>{one.rows[row]} to {one.cols[column]}: {number:.3g}</title>"
                )
                found.append(
                    f'<rect x="{left + column * cell}" y="{top + row * cell}" width="{cell}" height="{cell}" '
                    f'fill="{_hex(color_of(shade))}">{title}</rect>'
                )
    return found


def _hex(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _short(text: str) -> str:
    """A token in a margin; what would break a line is shown as it is written in code."""
    shown = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return shown if len(shown) <= 12 else shown[:11] + "…"
