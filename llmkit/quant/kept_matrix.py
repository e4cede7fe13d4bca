"""Rounded matrices in few bytes until they are written: codes of a byte each are half of what a model was.

Shapes: R rows, C columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.quant.ggml_grids import GgmlGrid
from llmkit.quant.grid import Fitted, Grid
from llmkit.quant.lattice import Lattice
from llmkit.quant.rounding import RoundedMatrix, in_place

_NIBBLE = 16
"""Codes below it go two into a byte."""
_SMALLER = (torch.int8, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class KeptMatrix:
    """What a RoundedMatrix is made of again, to the bit."""

    grid: Grid
    columns: int
    """C."""
    packed: Tensor
    """(R, C) uint8, or (R, C / 2 and one more where there is an odd one): the first of two codes is low."""
    stored: Mapping[str, Tensor]
    dtypes: Mapping[str, torch.dtype]
    """What those of `stored` and `lattice` become again."""
    table: Tensor
    group: int
    lattice: Mapping[str, Tensor]
    """Steps, and bases where there are any; neither, where `stored` tells both."""
    noise: float
    output_noise: float | None
    order: Tensor | None = None
    """See `RoundedMatrix.order`."""

    @classmethod
    def of(cls, matrix: RoundedMatrix) -> "KeptMatrix":
        """All of a matrix."""
        lattice, stored = matrix.fitted.lattice, dict(matrix.fitted.stored)
        told = isinstance(matrix.grid, GgmlGrid) and bool(matrix.grid.scale_high)
        steps = {} if told else {"step": lattice.step}
        if not told and lattice.base is not None:
            steps["base"] = lattice.base
        return cls(
            matrix.grid,
            matrix.codes.shape[1],
            _pairs(matrix.codes) if len(lattice.table) <= _NIBBLE else matrix.codes,
            {name: _smaller(one) for name, one in stored.items()},
            {name: one.dtype for name, one in {**stored, **steps}.items()},
            lattice.table,
            lattice.group,
            {name: _smaller(one) for name, one in steps.items()},
            matrix.noise,
            matrix.output_noise,
            matrix.order,
        )

    @property
    def nbytes(self) -> int:
        """Of all of it."""
        return sum(one.nbytes for one in (self.packed, *self.stored.values(), *self.lattice.values()))

    @property
    def codes(self) -> Tensor:
        """(R, C) uint8, made now."""
        if len(self.table) > _NIBBLE:
            return self.packed
        both = torch.stack((self.packed & 15, self.packed >> 4), dim=2)
        return both.flatten(1)[:, : self.columns].contiguous()

    @property
    def fitted(self) -> Fitted:
        """Made now."""
        stored = {name: one.to(self.dtypes[name]) for name, one in self.stored.items()}
        if not self.lattice:
            assert isinstance(self.grid, GgmlGrid)
            return Fitted(self.grid.lattice(stored), stored)
        steps = {name: one.to(self.dtypes[name]) for name, one in self.lattice.items()}
        return Fitted(Lattice(steps["step"], self.table, steps.get("base"), self.group), stored)

    def values(self) -> Tensor:
        """See `RoundedMatrix.values`."""
        return in_place(self.fitted.lattice.values(self.codes), self.order)


def _pairs(codes: Tensor) -> Tensor:
    if codes.shape[1] % 2:
        codes = torch.cat((codes, codes.new_zeros(len(codes), 1)), 1)
    return codes[:, 0::2] | codes[:, 1::2] << 4


def _smaller(values: Tensor) -> Tensor:
    """The same numbers in a smaller dtype, if one holds them all: of zeros their signs too."""
    for dtype in _SMALLER if values.dtype == torch.float32 else ():
        small = values.to(dtype)
        if torch.equal(small.float().view(torch.int32), values.contiguous().view(torch.int32)):
            return small
    return values
