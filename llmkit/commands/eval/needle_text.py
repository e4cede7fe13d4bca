"""The report of `llmkit eval needle`, for people: a picture of each task's grid in characters.

depth      64   128   256
  0 %   █ 100 ▒  50     0
"""

from typing import Any

from llmkit.commands.eval.needle_colors import shade_of
from llmkit.commands.facts import Facts, facts_lines, plural, title_line
from llmkit.commands.terminal import text_width

_SHADES = " ░▒▓█"


def needle_text(report: Any, *, color: bool = False) -> str:
    """A NeedleReport as grids and facts.

    Args:
        report: see there.
        color: whether cells have a background of 24-bit colour; else a shade in a character of its own.
    """
    lines = [title_line(report.model, "needles", _scaled(report))]
    for grid in report.tasks:
        lines += ["", *grid_lines(grid, color=color)]
    facts: Facts = [
        ("score", f"{report.score:.1f} %, {plural(report.samples, 'prompt')}"),
        ("effective length", _effective(report)),
        ("took", f"{report.seconds:.1f} s"),
    ]
    return "\n".join([*lines, "", *facts_lines(facts, text_width())])


def grid_lines(grid: Any, *, color: bool) -> list[str]:
    """A task's name, a row for each depth, and the means."""
    lengths = [one.length for one in grid.lengths]
    scores = {(cell.depth, cell.length): cell.score for cell in grid.cells}
    width = max(6, *(len(f"{length:,}") + 1 for length in lengths))
    lines = [f"  {grid.task:<16}" + "".join(f"{length:>{width},}" for length in lengths)]
    for depth in grid.depths:
        name = "all" if depth is None else f"{depth:g} %"
        cells = "".join(_cell(scores[depth, length], width, color=color) for length in lengths)
        lines.append(f"  {name:>16}{cells}")
    means = "".join(f"{one.score:>{width}.0f}" for one in grid.lengths)
    used = "" if grid.effective_length is None else f"  effective {grid.effective_length:,}"
    return [*lines, f"  {'mean':>16}{means}{used}"]


def _cell(score: float, width: int, *, color: bool) -> str:
    if not color:
        shade = _SHADES[min(len(_SHADES) - 1, int(score / 100 * len(_SHADES)))]
        return f"{shade}{score:>4.0f}".rjust(width)
    red, green, blue = shade_of(score)
    return f"\x1b[38;2;0;0;0;48;2;{red};{green};{blue}m{score:>{width}.0f}\x1b[0m"


def _scaled(report: Any) -> str:
    return f"context {report.context:,}" + (
        "" if report.rope_scaling is None else f", rope scaling {report.rope_scaling}"
    )


def _effective(report: Any) -> str:
    if report.effective_length is None:
        return f"none: no length reaches {report.threshold:g} %"
    return f"{report.effective_length:,}: the longest with {report.threshold:g} % or more"
