"""The largest number that fits: batch, context, whatever a budget grows with."""

from collections.abc import Callable


def largest(fits: Callable[[int], bool]) -> int:
    """The largest whole number that fits; 0 where 1 does not.

    Args:
        fits: true up to some number, and false for all above it.
    """
    above = 1
    while fits(above):
        above *= 2
    below = above // 2
    while above - below > 1:
        middle = (above + below) // 2
        if fits(middle):
            below = middle
        else:
            above = middle
    return below
