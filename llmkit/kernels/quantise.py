"""Weights put on a grid: steps of groups by search, nearest codes, and the inner loop of error feedback.

Shapes: M groups, g weights of a group, P rows of importance, N codes, R rows, C columns, G groups of a row.
"""

from ctypes import byref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.library import finished, library
from llmkit.kernels.memory import Floats, Rows, ValueType, check_floats, rows_of
from llmkit.kernels.quantise_structs import (
    CodingStruct,
    FeedbackStruct,
    LatticeStruct,
    NeighboursStruct,
    SearchStruct,
)

Codes = NDArray[np.uint8]
EVEN, EVEN_WITH_BASE, TABLE = range(3)
"""SearchKind of native/quantise.h."""


@dataclass(frozen=True)
class GroupValues:
    """The values allowed: `table[code] * step + base`."""

    step: Floats
    """(R, G)."""
    table: Floats
    """(N,), ascending, at most 256."""
    base: Floats | None
    """(R, G); None: 0."""
    group: int
    """Columns that share a step."""

    @property
    def struct(self) -> LatticeStruct:
        """What the library reads; its addresses hold as long as these arrays."""
        check_floats("step", self.step, self.step.shape[:2])
        if not 1 <= self.table.size <= 256 or self.group < 1:
            raise ValueError(f"{self.table.size} codes in groups of {self.group}")
        return LatticeStruct(
            self.step.ctypes.data,
            None if self.base is None else check_floats("base", self.base, self.step.shape),
            check_floats("table", self.table, (self.table.size,)),
            self.step.shape[1],
            self.group,
            self.table.size,
        )

    def check(self, rows: int, last: int) -> None:
        """Refuse a matrix of other rows, or a column beyond the last group."""
        if rows != self.step.shape[0] or last > self.step.shape[1] * self.group:
            raise ValueError(f"{rows} rows to column {last} on steps {self.step.shape} of {self.group}")


def even_scale(weight: NDArray[Any], importance: Floats | None, low: int, high: int, trials: int) -> Floats:
    """Steps for whole codes from `low` to `high`: (M,).

    Args:
        weight: (M, g) contiguous float32, float16, or bfloat16 as uint16; finite.
        importance: (P, g), group m counts its weights by row m % P; None: all alike.
        low, high, trials: see `llmkit.quant.search`, where all three searches are told of.

    Raises:
        ValueError: arrays of other kinds.
    """
    return searched(weight, importance, EVEN, low, high, trials)[0]


def even_scale_and_base(
    weight: NDArray[Any], importance: Floats | None, high: int, trials: int, *, below_zero: bool
) -> tuple[Floats, Floats]:
    """Steps and bases for whole codes from 0 to `high`: (M,) both. Otherwise as `even_scale`."""
    step, base, _ = searched(weight, importance, EVEN_WITH_BASE, 0, high, trials, below_zero=below_zero)
    return step, base


def table_scale(weight: NDArray[Any], importance: Floats | None, table: Floats, trials: int) -> Floats:
    """Steps for codes that stand for a table's values: (M,). Otherwise as `even_scale`."""
    return searched(weight, importance, TABLE, 0, 0, trials, table=table)[0]


def neighbours(
    weight: NDArray[Any],
    importance: Floats | None,
    table: Floats,
    units: tuple[Floats, Floats | None],
    chosen: tuple[Floats, Floats | None],
    limits: tuple[int, int],
) -> tuple[Floats, Floats | None, Floats]:
    """Of each group's whole numbers and those next to them, what loses least.

    Args:
        weight, importance: as for `even_scale`.
        table: (N,) ascending.
        units, chosen, limits: see `llmkit.quant.shared_scales.neighbours`; (M,) all four.

    Returns:
        (M,) steps' numbers, (M,) bases' or None, and (M, 6) sums: see there.

    Raises:
        ValueError: arrays of other kinds.
    """
    rows = _groups(weight)
    shape = (rows.num_rows,)
    counts = _importance_rows(importance, rows.num_rows, rows.num_cols)
    scale, sums = np.empty(shape, np.float32), np.empty((*shape, 6), np.float32)
    minimum = None if units[1] is None else np.empty(shape, np.float32)
    if (units[1] is None) != (chosen[1] is None):
        raise ValueError("bases come with their unit")
    struct = NeighboursStruct(
        *(rows.address, None if importance is None else importance.ctypes.data),
        check_floats("table", table, (table.size,)),
        *(None if one is None else check_floats("numbers", one, shape) for one in (*units, *chosen)),
        *(scale.ctypes.data, None if minimum is None else minimum.ctypes.data, sums.ctypes.data),
        *(rows.num_rows, rows.num_cols, counts, rows.value_type, table.size, *limits),
    )
    finished(library().llmkit_neighbours(byref(struct)))
    return scale, minimum, sums


def nearest_codes(weight: Floats, allowed: GroupValues, first: int = 0) -> Codes:
    """The code of the value nearest to each weight: (R, n).

    Args:
        weight: (R, n) float32, of columns `first` to `first + n`; a row is contiguous.

    Raises:
        ValueError: shapes or kinds that do not go together.
    """
    rows = rows_of(weight)
    if rows.value_type is not ValueType.FLOAT32:
        raise ValueError(f"weights are float32, not {rows.value_type.name}")
    allowed.check(rows.num_rows, first + rows.num_cols)
    codes = np.empty(weight.shape, np.uint8)
    coding = CodingStruct(
        *(allowed.struct, rows.address, codes.ctypes.data),
        *(rows.num_rows, rows.num_cols, rows.stride, rows.num_cols, first),
    )
    finished(library().llmkit_nearest_codes(byref(coding)))
    return codes


def code_values(codes: Codes, allowed: GroupValues, first: int = 0) -> Floats:
    """What codes stand for: (R, n).

    Args:
        codes: (R, n) contiguous, of columns `first` to `first + n`, none beyond the table.

    Raises:
        ValueError: shapes or kinds that do not go together, or a code beyond the table.
    """
    if codes.dtype != np.uint8 or codes.ndim != 2 or not codes.flags.c_contiguous:
        raise ValueError(f"codes are contiguous uint8 (R, n), not {codes.dtype} {codes.shape}")
    allowed.check(codes.shape[0], first + codes.shape[1])
    if allowed.table.size < 256 and codes.size and int(codes.max()) >= allowed.table.size:
        raise ValueError(f"a code of {int(codes.max())} in a table of {allowed.table.size}")
    values = np.empty(codes.shape, np.float32)
    rows, cols = codes.shape
    coding = CodingStruct(
        allowed.struct, values.ctypes.data, codes.ctypes.data, rows, cols, cols, cols, first
    )
    finished(library().llmkit_code_values(byref(coding)))
    return values


def feedback_block(
    weight: Floats,
    factor: Floats,
    columns: NDArray[np.int32],
    allowed: GroupValues,
    codes: Codes,
    original: Floats | None = None,
) -> Floats:
    """Round some columns one after the other, making each error good in those that follow.

    Args:
        weight: (R, n), what is wanted of these columns by now.
        factor: (n, n), their part of the upper Cholesky factor of the inverse second moments.
        columns: (n,) their places in the matrix.
        codes: (R, C) contiguous; the columns' codes are written to it.
        original: (R, n), what errors are counted from; None: from what is wanted.

    Returns:
        (R, n) errors over the factor's diagonal, which later columns have to make good.

    Raises:
        ValueError: shapes or kinds that do not go together.
    """
    wanted, upper = rows_of(weight), rows_of(factor)
    count = columns.size
    if {wanted.value_type, upper.value_type} != {ValueType.FLOAT32}:
        raise ValueError("weights and factors are float32")
    if wanted.num_cols != count or factor.shape != (count, count) or columns.dtype != np.int32:
        raise ValueError(f"{count} {columns.dtype} columns, weights {weight.shape}, factor {factor.shape}")
    if codes.dtype != np.uint8 or codes.ndim != 2 or not codes.flags.c_contiguous:
        raise ValueError(f"codes are contiguous uint8 (R, C), not {codes.dtype} {codes.shape}")
    if codes.shape[0] != wanted.num_rows or (
        count and not 0 <= int(columns.min()) <= int(columns.max()) < codes.shape[1]
    ):
        raise ValueError(f"{wanted.num_rows} rows into codes {codes.shape}, or a column outside them")
    allowed.check(wanted.num_rows, codes.shape[1])
    columns = np.ascontiguousarray(columns)
    base = wanted if original is None else rows_of(original)
    if (base.num_rows, base.num_cols, base.value_type) != (wanted.num_rows, count, ValueType.FLOAT32):
        raise ValueError(f"weights {weight.shape} that were others in the beginning")
    errors = np.empty((wanted.num_rows, count), np.float32)
    struct = FeedbackStruct(
        *(allowed.struct, wanted.address, base.address, upper.address, columns.ctypes.data),
        *(errors.ctypes.data, codes.ctypes.data),
        *(wanted.num_rows, count, wanted.stride, base.stride, upper.stride, codes.shape[1]),
    )
    finished(library().llmkit_feedback(byref(struct)))
    return errors


def searched(
    weight: NDArray[Any],
    importance: Floats | None,
    kind: int,
    low: int,
    high: int,
    trials: int,
    *,
    table: Floats | None = None,
    below_zero: bool = False,
    coded: bool = False,
) -> tuple[Floats, Floats, Codes | None]:
    """All three searches: steps, bases, and where `coded` the nearest codes (M, g), for which steps and bases
    are half-precision numbers and `table` has the codes' values.

    Args: see `even_scale`, `even_scale_and_base` and `table_scale`.

    Raises:
        ValueError: arrays of other kinds.
    """
    rows = _groups(weight)
    if trials < 1 or (coded and table is None):
        raise ValueError(f"{trials} trials, or codes of no table")
    step, base = np.empty(rows.num_rows, np.float32), np.empty(rows.num_rows, np.float32)
    codes = np.empty(weight.shape, np.uint8) if coded else None
    counts = _importance_rows(importance, rows.num_rows, rows.num_cols)
    search = SearchStruct(
        rows.address,
        None if importance is None else importance.ctypes.data,
        None if table is None else check_floats("table", table, (table.size,)),
        *(step.ctypes.data, base.ctypes.data, None if codes is None else codes.ctypes.data),
        *(rows.num_rows, rows.num_cols, counts, kind, rows.value_type, low, high, trials, below_zero),
        *(0 if table is None else table.size, coded),
    )
    finished(library().llmkit_search(byref(search)))
    return step, base, codes


def _groups(weight: NDArray[Any]) -> Rows:
    rows = rows_of(weight)
    if rows.value_type > ValueType.FLOAT16 or weight.ndim != 2 or not weight.flags.c_contiguous:
        raise ValueError(f"groups are contiguous floats (M, g), not {weight.dtype} {weight.shape}")
    if rows.num_cols < 1:
        raise ValueError("groups of no weights")
    return rows


def _importance_rows(importance: Floats | None, groups: int, width: int) -> int:
    if importance is None:
        return 1
    counts = importance.shape[0]
    check_floats("importance", importance, (counts, width))
    if counts < 1 or groups % counts:
        raise ValueError(f"{counts} rows of importance for {groups} groups")
    return counts
