"""The grids of `llmkit eval needle` as one picture: SVG, without scripts, fonts or links of its own."""

from typing import Any
from xml.sax.saxutils import escape

from llmkit.commands.eval.needle_colors import shade_of

_LEFT, _TOP, _ROW, _GAP = 70, 80, 34, 56
_WIDEST = 760
_LETTER = 9
"""Of the title: as wide as the widest usual fonts have it on average, so that none of it is cut off."""
_FONT = 'font-family="system-ui, sans-serif" fill="#222"'
_DARK = 'font-family="system-ui, sans-serif" fill="#000"'
"""On red, #222 has a contrast of 3.7; WCAG asks for 4.5."""


def needle_svg(report: Any) -> str:
    """A NeedleReport as a picture; the same report makes the same bytes."""
    most = max(len(grid.lengths) for grid in report.tasks)
    column = max(40, min(90, (_WIDEST - _LEFT) // most))
    title = f"{report.model}: what it finds, by length and depth"
    width = max(420, _LEFT + most * column + 20, 24 + _LETTER * len(title))
    parts: list[str] = []
    top = _TOP
    for grid in report.tasks:
        drawn, height = _grid(grid, report.threshold, top, column)
        parts += drawn
        top += height + _GAP
    scaling = "the model's own" if report.rope_scaling is None else report.rope_scaling
    used = "none" if report.effective_length is None else f"{report.effective_length:,} tokens"
    under = f"context {report.context:,}; effective length {used} (at {report.threshold:g} %)"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top - _GAP + 30}" role="img" '
        f'width="{width}" height="{top - _GAP + 30}">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="12" y="22" font-size="15" font-weight="600" {_FONT}>{escape(title)}</text>',
        f'<text x="12" y="40" font-size="11" {_FONT}>{escape(under)}</text>',
        f'<text x="12" y="55" font-size="11" {_FONT}>{escape(f"rope scaling: {scaling}")}</text>',
    ]
    return "\n".join([*head, *parts, "</svg>", ""])


def _grid(grid: Any, threshold: float, top: int, column: int) -> tuple[list[str], int]:
    """The elements of one task, and how high they are."""
    lengths = [one.length for one in grid.lengths]
    depths = grid.depths
    parts = [_text(12, top + 4, grid.task, size=12, anchor="start")]
    for cell in grid.cells:
        x = _LEFT + lengths.index(cell.length) * column
        y = top + 12 + depths.index(cell.depth) * _ROW
        red, green, blue = shade_of(cell.score)
        depth = "" if cell.depth is None else f", depth {cell.depth:g} %"
        told = f"{cell.length:,} tokens{depth}: {cell.score:.1f} % of {cell.samples}"
        parts.append(
            f'<rect x="{x}" y="{y}" width="{column - 1}" height="{_ROW - 1}" '
            f'fill="rgb({red},{green},{blue})"><title>{escape(told)}</title></rect>'
        )
        parts.append(_text(x + column // 2, y + _ROW // 2 + 4, f"{cell.score:.0f}", size=11, font=_DARK))
    for row, depth in enumerate(depths):
        name = "all" if depth is None else f"{depth:g} %"
        parts.append(_text(_LEFT - 8, top + 12 + row * _ROW + _ROW // 2 + 4, name, size=11, anchor="end"))
    bottom = top + 12 + len(depths) * _ROW
    for place, one in enumerate(grid.lengths):
        x = _LEFT + place * column + column // 2
        weight = "700" if one.score >= threshold else "400"
        parts.append(_text(x, bottom + 14, f"{one.length:,}", size=11, weight=weight))
    return parts, bottom + 14 - top


def _text(
    x: int, y: int, text: str, *, size: int, anchor: str = "middle", weight: str = "400", font: str = _FONT
) -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f"{font}>{escape(text)}</text>"
    )
