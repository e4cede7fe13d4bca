"""Matrices of codes whose columns stand elsewhere, or whose rows are of several matrices.

Shapes: R rows, C columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import Any

from numpy.typing import NDArray

from llmkit.kernels.coded import Coded, CodedMatrix, Grouping, Order, stacked


def grouping_of_runs(grouping: Grouping, width: int) -> Grouping | None:
    """How a matrix is kept whose columns change places in runs of so many; None where that tears groups.

    Spans may be torn: what they share is kept for each part.
    """
    if grouping.is_widened or width % grouping.group:
        return None
    span = gcd(grouping.span, width) if grouping.span else 0
    return None if span % 32 else replace(grouping, span=span)


def with_runs(matrix: CodedMatrix, order: Order, width: int) -> CodedMatrix:
    """A matrix whose columns stand in another order of runs.

    Args:
        matrix: one that `grouping_of_runs` has a grouping for.
        order: (C / width) which of its runs comes at each place.
        width: columns of a run.
    """
    grouping, old = grouping_of_runs(matrix.grouping, width), matrix.grouping
    assert grouping is not None and len(order) * width == matrix.num_cols

    def moved(one: NDArray[Any] | None, columns: int, copies: int = 1) -> Any:
        """Of an array that has a number for each so many columns, and is asked for copies of it."""
        if one is None:
            return None
        each = one.repeat(copies, 1)[:, : matrix.num_cols // columns]
        return each.reshape(len(one), -1, width // columns)[:, order].reshape(len(one), -1)

    def read(rows: Order) -> Coded:
        found = matrix.read(rows)
        scales, bases = (moved(one, grouping.group) for one in (found.scales, found.bases))
        factors, base_factors = (
            moved(one, grouping.span, old.span // grouping.span) if grouping.span else None
            for one in (found.factors, found.base_factors)
        )
        return Coded(grouping, moved(found.codes, 1), scales, bases, factors, base_factors)

    return CodedMatrix(grouping, matrix.num_rows, matrix.num_cols, read)


@dataclass(frozen=True)
class MixedMatrix(CodedMatrix):
    """Rows of several matrices in one another's midst, kept alike."""

    parts: tuple[CodedMatrix, ...]
    order: Order
    """Of each row that of the parts below each other."""

    def ordered(self, order: Order) -> CodedMatrix:
        """See `CodedMatrix`; rows of one part alone are kept as it is."""
        rows, begin = self.order[order], 0
        for part in self.parts:
            if begin <= rows.min() and rows.max() < begin + part.num_rows:
                return part.ordered(rows - begin)
            begin += part.num_rows
        return mixed(self.parts, rows)


def mixed(parts: Sequence[CodedMatrix], order: Order) -> CodedMatrix:
    """Rows of several matrices, none of them widened, in any order.

    Args:
        parts: matrices of as many columns.
        order: of each row that of the parts below each other.
    """
    below = stacked(parts)
    assert below is not None, "what is not widened has a grouping in common"
    return MixedMatrix(
        below.grouping, len(order), below.num_cols, below.ordered(order).read, tuple(parts), order
    )
