"""Numbers as shades and shades as colours, the same in the terminal and in pictures."""

import math
from collections.abc import Sequence

from llmkit.formats.png import Color

_INFERNO = (
    *((0, 0, 4), (40, 11, 84), (101, 21, 110), (159, 42, 99)),
    *((212, 72, 66), (245, 125, 21), (250, 193, 39), (252, 255, 164)),
)
"""Eight of the colours of matplotlib's inferno, which brightens evenly: it reads the same without colour."""
UNSEEN: Color = (44, 46, 52)
"""Of cells whose keys no query sees."""
RAMP = " .:-=+*#%@"
"""Shades as characters."""

Shades = list[list[float | None]]


def shades(values: Sequence[Sequence[float]], *, scores: bool) -> Shades:
    """0 to 1 for each cell, None where it is -inf: no key is seen.

    Weights go by their root, so that 0.01 can still be told from nothing. Scores go from the lowest to the
    highest that is there.
    """
    if not scores:
        return [
            [None if math.isinf(one) else math.sqrt(min(1.0, max(0.0, one))) for one in row] for row in values
        ]
    finite = [one for row in values for one in row if not math.isinf(one)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    span = high - low or 1.0
    return [[None if math.isinf(one) else (one - low) / span for one in row] for row in values]


def color_of(shade: float | None) -> Color:
    """Between the two nearest colours of the ramp."""
    if shade is None:
        return UNSEEN
    place = min(1.0, max(0.0, shade)) * (len(_INFERNO) - 1)
    low = min(int(place), len(_INFERNO) - 2)
    part = place - low
    red, green, blue = (
        round((1 - part) * one + part * two)
        for one, two in zip(_INFERNO[low], _INFERNO[low + 1], strict=True)
    )
    return red, green, blue


def character_of(shade: float | None) -> str:
    """The same without colour; a key that is not seen is blank, as is one that gets nothing."""
    return " " if shade is None else RAMP[min(len(RAMP) - 1, int(shade * len(RAMP)))]
