"""Two tensors of one shape, value by value, in memory for a few blocks whatever their size."""

import math
from itertools import starmap

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.formats.model_folder import TensorInfo
from llmkit.workflows.diff.decode import (
    Codes,
    Numbers,
    can_decode,
    decode,
    distance,
    read_bytes,
    read_codes,
)
from llmkit.workflows.diff.numbers import MADE
from llmkit.workflows.diff.options import DiffConfig


class ValuesDiff(msgspec.Struct, frozen=True, kw_only=True):
    """How the values of two tensors differ. Figures are over the pairs in which both values are finite."""

    values: int
    differing: int | None
    """Values beyond the tolerance; NaN equals NaN. None, as all figures: a dtype only compared as bytes."""
    max_abs: float | None = None
    """Largest |a - b|."""
    mean_abs: float | None = None
    relative_rms: float | None = None
    """sqrt(sum (a - b)² / sum a²); None where all of A is zero."""
    at: list[int] | None = None
    """Where the largest |a - b| is."""
    nan_a: int = 0
    nan_b: int = 0
    infinite_a: int = 0
    infinite_b: int = 0


def compare_values(a: TensorInfo, b: TensorInfo, config: DiffConfig) -> ValuesDiff:
    """Two tensors of one shape.

    Raises:
        DataError: a file ends before its tensor does.
    """
    if same_bytes(a, b):
        return ValuesDiff(values=a.numel, differing=0, max_abs=0.0, mean_abs=0.0, relative_rms=0.0)
    if not (can_decode(a.dtype) and can_decode(b.dtype)):
        return ValuesDiff(values=a.numel, differing=None)
    sums = _Sums(a.dtype == b.dtype and config.bit_for_bit, config)
    for codes_a, codes_b in zip(read_codes(a), read_codes(b), strict=True):
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are counted, not warned of
            sums.add(codes_a, codes_b, decode(codes_a, a.dtype), decode(codes_b, b.dtype))
    return sums.result(a.shape)


def same_bytes(a: TensorInfo, b: TensorInfo) -> bool:
    """Whether two tensors of any shape are the same to the bit.

    Raises:
        DataError: a file ends before its tensor does.
    """
    if a.dtype != b.dtype or a.nbytes != b.nbytes:
        return False
    if isinstance(a, MADE) or isinstance(b, MADE):
        return False  # of their numbers nothing lies in a file
    return all(starmap(bytes.__eq__, zip(read_bytes(a), read_bytes(b), strict=True)))


class _Sums:
    """The running figures of one pair of tensors."""

    def __init__(self, bit_for_bit: bool, config: DiffConfig) -> None:
        self._bit_for_bit = bit_for_bit
        self._config = config
        self._values = self._differing = self._finite = 0
        self._sum = self._squares = self._squares_a = 0.0
        self._max, self._at = -1.0, 0
        self._nan, self._infinite = np.zeros(2, np.int64), np.zeros(2, np.int64)

    def add(self, codes_a: Codes, codes_b: Codes, a: Numbers, b: Numbers) -> None:
        gap = distance(a, b)
        total = float(gap.sum())
        finite = None if math.isfinite(total) else np.isfinite(a) & np.isfinite(b)
        beyond = codes_a != codes_b if self._bit_for_bit else self._beyond(gap, a, b, finite)
        self._differing += int(np.count_nonzero(beyond))
        self._finite += len(gap)
        if finite is not None:
            self._finite -= int(np.count_nonzero(~finite))
            self._nan += [np.count_nonzero(np.isnan(one)) for one in (a, b)]
            self._infinite += [np.count_nonzero(np.isinf(one)) for one in (a, b)]
            gap, a = np.where(finite, gap, 0.0), np.where(finite, a, 0)
            total = float(gap.sum())
        most = int(gap.argmax())
        if gap[most] > self._max:
            self._max, self._at = float(gap[most]), self._values + most
        self._values += len(gap)
        self._sum += total
        self._squares += _sum_of_squares(gap)
        self._squares_a += _sum_of_squares(a)

    def result(self, shape: tuple[int, ...]) -> ValuesDiff:
        some = self._finite > 0
        return ValuesDiff(
            values=self._values,
            differing=self._differing,
            max_abs=self._max if some else None,
            mean_abs=self._sum / self._finite if some else None,
            relative_rms=math.sqrt(self._squares / self._squares_a) if self._squares_a else None,
            at=[int(place) for place in np.unravel_index(self._at, shape)] if self._max > 0 else None,
            nan_a=int(self._nan[0]),
            nan_b=int(self._nan[1]),
            infinite_a=int(self._infinite[0]),
            infinite_b=int(self._infinite[1]),
        )

    def _beyond(
        self, gap: NDArray[np.float64], a: Numbers, b: Numbers, finite: NDArray[np.bool_] | None
    ) -> NDArray[np.bool_]:
        """Where the tolerance is exceeded; a value that is not finite is like itself only."""
        scale = np.abs(b.astype(np.result_type(b, np.float64))) if self._config.rtol else 0.0
        beyond = gap > self._config.atol + self._config.rtol * scale
        if finite is None:
            return beyond
        return np.where(finite, beyond, (a != b) & ~(np.isnan(a) & np.isnan(b)))


def _sum_of_squares(values: Numbers) -> float:
    """By numpy's own loop: BLAS would add in another order for another number of threads."""
    wide = values.astype(np.result_type(values, np.float64), copy=False)
    return float(np.einsum("i,i->", wide, wide.conj()).real)
