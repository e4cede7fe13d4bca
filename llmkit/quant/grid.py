"""What a file format lets the weights of a matrix be: a grid is fitted to a matrix, which gives a lattice.

Shapes: R rows, C columns, G groups of a row, B blocks of a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from llmkit.quant.lattice import Lattice


@dataclass(frozen=True)
class Fitted:
    """A grid laid over one matrix; what is left to choose is each weight's code."""

    lattice: Lattice
    stored: Mapping[str, Tensor]
    """What the file keeps beside the codes, as its integers and half-precision numbers."""


class Grid(Protocol):
    """A way to store matrices."""

    @property
    def name(self) -> str:
        """In flags and reports: Q4_K, int4-g128."""

    @property
    def block(self) -> int:
        """A row is a whole number of blocks of so many columns."""

    @property
    def bits_per_weight(self) -> float:
        """Steps and bases counted."""

    def fit(self, weight: Tensor, importance: Tensor | None = None) -> Fitted:
        """Choose steps and bases.

        Args:
            weight: (R, C) float32, finite.
            importance: (C,) or (R, C), how much an error in a column counts; None: all alike.

        Raises:
            DataError: a row is no whole number of blocks, or a weight is not finite or beyond the format.
        """


def rows_of_groups(weight: Tensor, importance: Tensor | None, group: int) -> tuple[Tensor, Tensor]:
    """A matrix and the importance of its weights, cut into groups: (M, g) both."""
    groups = weight.reshape(-1, group)
    if importance is None:
        return groups, groups.new_ones(1, group)
    return groups, importance.expand_as(weight).reshape(-1, group)
