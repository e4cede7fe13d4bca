"""A matrix of codes: whole numbers of 4 or 8 bits, what groups of them are multiplied with, and moved by.

    weight = scale * code + base

Files keep matrices so in many ways; this is the one that the kernels take (layout: native/abi.h). A scale is
a float, or a small whole number times a factor that a longer span of columns shares, as in GGUF's k-quants.
Shapes: R rows, C columns, G groups of a row, S spans of a row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.memory import Floats

Order = NDArray[np.intp]


class Codes(IntEnum):
    """What codes are; numbers as in native/abi.h."""

    FOURS = 0
    """0 to 15; without bases they stand for -8 to 7."""
    EIGHTS = 1
    """0 to 255, which stand for -128 to 127."""
    IQ4 = 2
    """Places in GGUF's table of IQ4_NL."""
    E2M1 = 3
    """Floats of 4 bits, which stand for twice their value."""


TABLES: dict[Codes, Floats] = {
    Codes.IQ4: np.array(
        [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32
    ),
    Codes.E2M1: np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32),
}


@dataclass(frozen=True)
class Grouping:
    """How a matrix of codes is kept."""

    codes: Codes
    group: int
    """Columns that share a scale: 16, or a multiple of 32."""
    span: int = 0
    """Columns that share a factor, a multiple of `group`; 0: scales are floats."""
    based: bool = False
    wide: bool = False
    """Floats are float32, not float16."""

    def __post_init__(self) -> None:
        if self.group < 1 or (self.group % 32 and self.group != 16):
            raise ValueError(f"groups of 16 or of a multiple of 32 columns, not {self.group}")
        if self.span % self.group or self.span % 32:
            raise ValueError(f"spans of whole groups of {self.group}, not {self.span}")

    @property
    def number(self) -> int:
        """The format as in native/abi.h."""
        return 16 | int(self.codes) | (self.group == 16) << 2 | self.based << 3

    @property
    def float_type(self) -> type[np.floating[Any]]:
        """Of scales or factors."""
        return np.float32 if self.wide else np.float16

    @property
    def scale_type(self) -> type[np.number[Any]]:
        """Of scales and bases."""
        return np.int8 if self.span else self.float_type


@dataclass(frozen=True)
class Coded:
    """Some rows of such a matrix."""

    grouping: Grouping
    codes: NDArray[np.uint8]
    """(R, C), a byte each."""
    scales: NDArray[Any]
    """(R, G) of the grouping's scale_type."""
    bases: NDArray[Any] | None = None
    factors: NDArray[Any] | None = None
    """(R, S)."""
    base_factors: NDArray[Any] | None = None

    def values(self) -> Floats:
        """The numbers themselves, (R, C): what a file's own reader gives, to the bit."""
        grouping, columns = self.grouping, self.codes.shape[1]
        if grouping.codes in TABLES:
            numbers = TABLES[grouping.codes][self.codes]
        else:
            middle = 128 if grouping.codes is Codes.EIGHTS else 0 if grouping.based else 8
            numbers = self.codes.astype(np.float32) - np.float32(middle)
        numbers *= self._spread(self.scales, self.factors)[:, :columns]
        if self.bases is not None:
            numbers += self._spread(self.bases, self.base_factors)[:, :columns]
        return numbers

    def as_grouping(self, wanted: Grouping) -> "Coded":
        """The same numbers kept otherwise; `wanted` as `common` gives it."""
        if wanted == self.grouping:
            return self
        assert wanted.codes is Codes.EIGHTS and wanted.wide and not wanted.span
        mine = self.grouping
        if mine.codes in TABLES:
            codes = (TABLES[mine.codes] + 128).astype(np.uint8)[self.codes]
        elif mine.codes is Codes.FOURS:
            codes = self.codes + np.uint8(128 if mine.based else 120)
        else:
            codes = self.codes
        scales, bases = (
            np.ascontiguousarray(self._spread(scale, factor)[:, :: wanted.group])
            for scale, factor in (
                (self.scales, self.factors),
                (np.zeros_like(self.scales) if self.bases is None else self.bases, self.base_factors),
            )
        )
        return Coded(wanted, codes, scales, bases if wanted.based else None)

    def _spread(self, scales: NDArray[Any], factors: NDArray[Any] | None) -> Floats:
        """The scale or base of each column, (R, C or a little more)."""
        grouping = self.grouping
        floats = scales.astype(np.float32)
        if factors is not None:
            each = grouping.span // grouping.group
            floats *= factors.astype(np.float32).repeat(each, 1)[:, : floats.shape[1]]
        return floats.repeat(grouping.group, 1)


@dataclass(frozen=True)
class CodedMatrix:
    """A matrix whose rows are read when they are packed."""

    grouping: Grouping
    num_rows: int
    num_cols: int
    read: Callable[[Order], Coded]
    """Some rows, in the order asked for."""

    def ordered(self, order: Order) -> "CodedMatrix":
        """The matrix of these rows of it."""
        read = self.read
        return CodedMatrix(self.grouping, len(order), self.num_cols, lambda rows: read(order[rows]))

    def as_grouping(self, wanted: Grouping) -> "CodedMatrix":
        """The same numbers, kept otherwise."""
        read = self.read
        return CodedMatrix(wanted, self.num_rows, self.num_cols, lambda rows: read(rows).as_grouping(wanted))


def common(groupings: Sequence[Grouping]) -> Grouping:
    """One grouping in which the numbers of all of these can be kept, exactly."""
    if len(set(groupings)) == 1:
        return groupings[0]
    group = gcd(*(one.group for one in groupings))
    return Grouping(Codes.EIGHTS, group, based=any(one.based for one in groupings), wide=True)


def stacked(parts: Sequence[CodedMatrix]) -> CodedMatrix:
    """Matrices of as many columns below each other."""
    if len(parts) == 1:
        return parts[0]
    grouping = common([one.grouping for one in parts])
    alike = [one.as_grouping(grouping) for one in parts]
    starts = np.cumsum([0, *(one.num_rows for one in alike)])

    def read(rows: Order) -> Coded:
        found = []
        for part, start, end in zip(alike, starts, starts[1:], strict=False):
            inside = rows[(rows >= start) & (rows < end)] - start
            if inside.size:
                found.append(part.read(inside))
        return _joined(found)

    return CodedMatrix(grouping, int(starts[-1]), parts[0].num_cols, read)


def _joined(parts: Sequence[Coded]) -> Coded:
    """Rows below rows; they are asked for in order, whoever asks."""
    if len(parts) == 1:
        return parts[0]

    def join(name: str) -> Any:
        arrays = [getattr(one, name) for one in parts]
        return None if arrays[0] is None else np.concatenate(arrays)

    names = ("codes", "scales", "bases", "factors", "base_factors")
    return Coded(parts[0].grouping, *(join(name) for name in names))
