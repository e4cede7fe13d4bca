"""A matrix of codes: numbers of 4 or 8 bits, what groups of them are multiplied with, and moved by.

    weight = scale * code + base

Files keep matrices so in many ways; this is the one that the kernels take (layout: native/abi.h). A scale is
a float, or a small whole number times a factor that a longer span of columns shares, as in GGUF's k-quants.
Most are multiplied as whole numbers. Codes that stand for floats, and groups whose columns lie scattered (and
are put side by side), are widened to float32 by the kernels as they are multiplied.
Shapes: R rows, C columns, G groups of a row, S spans of a row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.bytewise import E4M3
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
    FLOATS = 4
    """Places in a table of 16 float32, the head."""
    E4M3 = 5
    """Floats of 8 bits: 4 for the exponent, 3 for the mantissa."""


WIDENED = 4
"""The format of matrices that are multiplied as float32, as in native/abi.h."""
_KINDS = {Codes.FOURS: 0, Codes.EIGHTS: 1, Codes.FLOATS: 2, Codes.E4M3: 3}

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
    """Columns that share a scale: 16, or a multiple of 32; of any number where codes are widened."""
    span: int = 0
    """Columns that share a factor, a multiple of `group`; 0: scales are floats."""
    based: bool = False
    wide: bool = False
    """Floats are float32, not float16."""
    head: bytes = b""
    """What all rows share: of FLOATS their table; else, where columns stand in another order, it, int32."""

    def __post_init__(self) -> None:
        if self.is_widened:
            odd = self.group % 2 and self.codes in (Codes.FOURS, Codes.FLOATS)
            if self.group < 1 or odd or self.span or self.codes not in _KINDS:
                raise ValueError(f"codes that are widened have even groups, not {self.group} in {self.span}")
            return
        if self.group < 1 or (self.group % 32 and self.group != 16):
            raise ValueError(f"groups of 16 or of a multiple of 32 columns, not {self.group}")
        if self.span % self.group or self.span % 32:
            raise ValueError(f"spans of whole groups of {self.group}, not {self.span}")

    @property
    def is_widened(self) -> bool:
        """Whether the kernels multiply float32 made of the codes."""
        return bool(self.head) or self.codes in (Codes.FLOATS, Codes.E4M3)

    @property
    def order(self) -> Order | None:
        """The column of each code, (C,); None: they stand in order."""
        scattered = self.head and self.codes is not Codes.FLOATS
        return np.frombuffer(self.head, np.int32).astype(np.intp) if scattered else None

    @property
    def kind(self) -> int:
        """What codes that are widened are, as in native/abi.h."""
        return _KINDS[self.codes] | (self.order is not None) << 2 | self.based << 3 if self.is_widened else 0

    @property
    def number(self) -> int:
        """The format as in native/abi.h."""
        if self.is_widened:
            return WIDENED
        return 16 | int(self.codes) | (self.group == 16) << 2 | self.based << 3

    @property
    def float_type(self) -> type[np.floating[Any]]:
        """Of scales or factors."""
        return np.float32 if self.wide else np.float16

    @property
    def scale_type(self) -> type[np.number[Any]]:
        """Of scales and bases."""
        return np.int8 if self.span else self.float_type


_ARRAYS = ("codes", "scales", "bases", "factors", "base_factors")


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
        elif grouping.codes is Codes.FLOATS:
            numbers = np.frombuffer(grouping.head, np.float32)[self.codes]
        elif grouping.codes is Codes.E4M3:
            numbers = E4M3[self.codes]
        else:
            middle = 128 if grouping.codes is Codes.EIGHTS else 0 if grouping.based else 8
            numbers = self.codes.astype(np.float32) - np.float32(middle)
        numbers *= self._spread(self.scales, self.factors)[:, :columns]
        if self.bases is not None:
            numbers += self._spread(self.bases, self.base_factors)[:, :columns]
        if grouping.order is None:
            return numbers
        in_order = np.empty_like(numbers)
        in_order[:, grouping.order] = numbers
        return in_order

    def rows(self, order: Order) -> "Coded":
        """These rows of it."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return replace(self, **{name: one[order] for name, one in arrays.items() if one is not None})

    def as_grouping(self, wanted: Grouping) -> "Coded":
        """The same numbers kept otherwise; `wanted` as `common` gives it."""
        if wanted == self.grouping:
            return self
        if wanted == replace(self.grouping, head=wanted.head, wide=wanted.wide):
            kind = wanted.scale_type
            bases = None if self.bases is None else self.bases.astype(kind)
            return replace(self, grouping=wanted, scales=self.scales.astype(kind), bases=bases)
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


def common(parts: Sequence[CodedMatrix]) -> list[CodedMatrix]:
    """The same matrices, kept so that one preparation of what they are multiplied with serves all: to the
    number as they were, and where codes are not widened in one grouping.
    """
    groupings = [one.grouping for one in parts]
    if len(set(groupings)) == 1 or all(one.is_widened for one in groupings):
        return list(parts)
    if any(one.is_widened for one in groupings):
        return [one if one.grouping.is_widened else _widened(one) for one in parts]
    group = gcd(*(one.group for one in groupings))
    wanted = Grouping(Codes.EIGHTS, group, based=any(one.based for one in groupings), wide=True)
    return [one.as_grouping(wanted) for one in parts]


def _widened(matrix: CodedMatrix) -> CodedMatrix:
    """A matrix whose groups lie in order, beside others whose groups do not."""
    grouping = matrix.grouping
    head = np.arange(matrix.num_cols, dtype=np.int32).tobytes()
    return matrix.as_grouping(replace(grouping, head=head))


def _of_all(groupings: Sequence[Grouping]) -> Grouping | None:
    """One grouping that holds the numbers of all of these, that `common` gave."""
    first = groupings[0]
    if len(set(groupings)) == 1:
        return first
    if any((one.group, one.head) != (first.group, first.head) for one in groupings):
        return None
    if len({(one.codes, one.based) for one in groupings}) == 1:
        return replace(first, wide=True)
    if any(one.codes not in (Codes.FOURS, Codes.EIGHTS) for one in groupings):
        return None
    based = any(one.based for one in groupings)
    return Grouping(Codes.EIGHTS, first.group, based=based, wide=True, head=first.head)


def stacked(parts: Sequence[CodedMatrix]) -> CodedMatrix | None:
    """Matrices of as many columns below each other; None where no one grouping holds the numbers of all."""
    alike = common(parts)
    wanted = _of_all([one.grouping for one in alike])
    if wanted is None:
        return None
    alike = [one.as_grouping(wanted) if one.grouping != wanted else one for one in alike]
    grouping = wanted
    if len(alike) == 1:
        return alike[0]
    starts = np.cumsum([0, *(one.num_rows for one in alike)])

    def read(rows: Order) -> Coded:
        found, places = [], []
        for part, start, end in zip(alike, starts, starts[1:], strict=False):
            inside = np.flatnonzero((rows >= start) & (rows < end))
            if inside.size:
                found.append(part.read(rows[inside] - start))
                places.append(inside)
        below, order = _joined(found), np.concatenate(places)
        return below if len(found) == 1 else below.rows(np.argsort(order))

    return CodedMatrix(grouping, int(starts[-1]), parts[0].num_cols, read)


def _joined(parts: Sequence[Coded]) -> Coded:
    """Rows below rows."""
    if len(parts) == 1:
        return parts[0]

    def join(name: str) -> Any:
        arrays = [getattr(one, name) for one in parts]
        return None if arrays[0] is None else np.concatenate(arrays)

    return Coded(parts[0].grouping, *(join(name) for name in _ARRAYS))
