"""The colours of needle grids: red for nothing found, over yellow, to green for all."""

from itertools import pairwise

_STOPS = ((0.0, (214, 72, 60)), (50.0, (250, 214, 102)), (100.0, (66, 160, 92)))


def shade_of(score: float) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of a score in percent."""
    for (low, first), (high, second) in pairwise(_STOPS):
        if score <= high:
            share = (score - low) / (high - low)
            red, green, blue = (round(a + share * (b - a)) for a, b in zip(first, second, strict=True))
            return red, green, blue
    return _STOPS[-1][1]
