"""The one figure that an evaluation is judged by, and whether another is worse beyond noise."""

import math
from typing import Literal

import msgspec

Z95 = 1.959963984540054
"""Standard errors of a normal distribution within which 95 % lie."""


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its uncertainty."""

    name: str
    value: float
    error: float
    """Standard error; 0 where it is not known."""
    better: Literal["higher", "lower"]


def is_worse(now: Headline, before: Headline) -> bool:
    """Whether a figure is no number, or worse than an earlier one by more than 1.96 standard errors of both.

    The two are taken as independent, which is cautious where both are of the same records: `compare` is
    sharper there.
    """
    loss = before.value - now.value if now.better == "higher" else now.value - before.value
    return math.isnan(now.value) or loss > Z95 * math.hypot(now.error, before.error)
