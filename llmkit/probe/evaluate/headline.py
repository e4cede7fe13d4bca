"""The one figure that an evaluation is judged by."""

from typing import Literal

import msgspec

Z95 = 1.959963984540054
"""Standard errors of a normal distribution within which 95 % lie."""


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its uncertainty."""

    name: str
    value: float
    error: float | None
    """Standard error; None where it is not known."""
    better: Literal["higher", "lower"]

    def loss(self, before: "Headline") -> float:
        """By how much it is worse than an earlier one; below 0 where it is better."""
        return before.value - self.value if self.better == "higher" else self.value - before.value
