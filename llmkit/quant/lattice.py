"""The values that the weights of a matrix may have, group by group, before any weight is rounded to them.

A group is a run of columns in one row. Its values are `base + step * table[code]`: steps and bases are
already those that a file can hold, so that whoever chooses codes, by rounding or by feedback of errors,
needs to know nothing of files.

Shapes: R rows, C columns, G groups of a row, N codes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llmkit.kernels.memory import Floats
from llmkit.kernels.quantise import GroupValues, code_values, nearest_codes
from llmkit.quant.search import natively


@dataclass(frozen=True)
class Lattice:
    """The values of every group of a matrix."""

    step: Tensor
    """(R, G) float32, of any sign; 0 where a group has one value."""
    table: Tensor
    """(N,) float32, ascending, at most 256 long: the value of each code in steps."""
    base: Tensor | None = None
    """(R, G) float32, what is added; None is 0."""
    group: int = 32
    """Columns that share a step."""

    @property
    def is_even(self) -> bool:
        """Whether the codes are whole numbers in a row, so that rounding needs no search."""
        steps = self.table.diff()
        return bool((steps == 1).all())

    @property
    def arrays(self) -> GroupValues:
        """As the native library reads it; for tensors of the CPU."""
        base = None if self.base is None else _floats(self.base)
        return GroupValues(_floats(self.step), _floats(self.table), base, self.group)

    def round(self, weight: Tensor, first: int = 0) -> Tensor:
        """The code of the nearest value.

        Args:
            weight: (R, n) float32, of columns `first` to `first + n`.
            first: a column.

        Returns:
            (R, n) uint8.
        """
        if natively(weight, self.step):
            rows = weight.detach().float()
            rows = rows if rows.stride(1) == 1 else rows.contiguous()
            return torch.from_numpy(nearest_codes(rows.numpy(), self.arrays, first))
        step, base = self._columns(first, weight.shape[1])
        scaled = weight if base is None else weight - base
        scaled = torch.where(step == 0, 0, scaled / step)
        last = len(self.table) - 1
        if self.is_even:
            return (scaled - self.table[0]).round_().clamp_(0, last).to(torch.uint8)
        middles = (self.table[1:] + self.table[:-1]) / 2
        return torch.bucketize(scaled.contiguous(), middles).to(torch.uint8)

    def values(self, codes: Tensor, first: int = 0) -> Tensor:
        """What codes stand for: (R, n) float32."""
        if natively(codes, self.step):
            return torch.from_numpy(code_values(codes.contiguous().numpy(), self.arrays, first))
        step, base = self._columns(first, codes.shape[1])
        values = self.table[codes.int()] * step
        return values if base is None else values + base

    def _columns(self, first: int, count: int) -> tuple[Tensor, Tensor | None]:
        """Step and base of each of some columns: (R, n), or (R, 1) where one group has them all."""
        begin, end = first // self.group, -(-(first + count) // self.group)
        if end - begin == 1:
            return self.step[:, begin:end], None if self.base is None else self.base[:, begin:end]
        place = torch.arange(first, first + count) // self.group
        return self.step[:, place], None if self.base is None else self.base[:, place]


def _floats(values: Tensor) -> Floats:
    return np.asarray(values.detach().contiguous().numpy(), np.float32)
