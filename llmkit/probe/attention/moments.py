"""Mean and central moments of numbers that come in parts: none is kept, and nothing cancels.

Source: Pébay 2008, Sandia report SAND2008-6212, formulas for joining two sets.
"""

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Of the numbers so far: how many, their mean, and sums of powers of their distances from it."""

    count: int = 0
    mean: float = 0.0
    second: float = 0.0
    third: float = 0.0
    fourth: float = 0.0

    @property
    def kurtosis(self) -> float:
        """count * fourth / second^2: 3 for a normal distribution; nan where all numbers are equal."""
        return self.count * self.fourth / self.second**2 if self.second > 0 else math.nan


def moments_about(centre: float, apart: Tensor, count: int) -> Moments:
    """The moments of numbers of which the distances from some centre near their mean are known.

    Args:
        centre: any number; the nearer the mean, the less is lost.
        apart: of any shape, value - centre, and 0 in place of what is no number of theirs.
        count: how many are numbers of theirs.
    """
    flat = apart.reshape(-1)
    squares = flat * flat
    one, two = float(flat.sum()) / count, float(flat.dot(flat)) / count
    three, four = float(squares.dot(flat)) / count, float(squares.dot(squares)) / count
    return Moments(
        count,
        centre + one,
        count * (two - one**2),
        count * (three - 3 * one * two + 2 * one**3),
        count * (four - 4 * one * three + 6 * one**2 * two - 3 * one**4),
    )


def add_moments(a: Moments, b: Moments) -> Moments:
    """Of both sets together."""
    if not a.count or not b.count:
        return a if a.count else b
    n = a.count + b.count
    apart, x, y = b.mean - a.mean, a.count, b.count
    second = a.second + b.second + apart**2 * x * y / n
    third = (
        a.third + b.third + apart**3 * x * y * (x - y) / n**2 + 3 * apart * (x * b.second - y * a.second) / n
    )
    fourth = (
        a.fourth
        + b.fourth
        + apart**4 * x * y * (x * x - x * y + y * y) / n**3
        + 6 * apart**2 * (x * x * b.second + y * y * a.second) / n**2
        + 4 * apart * (x * b.third - y * a.third) / n
    )
    return Moments(n, a.mean + apart * y / n, second, third, fourth)
