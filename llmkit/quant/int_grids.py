"""Whole codes in groups along the rows: what compressed-tensors, GPTQ, AWQ and MLX files hold.

Symmetric: `step * (code - 2^(b-1))`, steps of either sign, so that the longer side of the codes is at the
larger side of the weights. With a zero point: `step * (code - zero)`, the zero a whole number that is a code.
Affine (MLX): `step * code + bias`, both in the dtype of the scales.

Shapes: R rows, C columns, G groups of a row, M = R G groups, g columns of a group.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.errors import ConfigError, DataError
from llmkit.quant.grid import Fitted, rows_of_groups
from llmkit.quant.lattice import Lattice
from llmkit.quant.search import even_scale, even_scale_and_base

_TRIALS = 24
"""Steps tried: groups are long, so that it pays to leave the largest weights out."""
_ZERO_TRIALS = 30


@dataclass(frozen=True)
class IntGrid:
    """Codes of some bits about zero, or about a zero point of each group."""

    bits: int
    group: int = 128
    """Columns that share a step; 0: the whole row."""
    symmetric: bool = True
    scale_dtype: torch.dtype = torch.bfloat16
    """What files keep steps in."""
    zero_low: int = 0
    """The least zero point: 1 where files keep it less one (GPTQ, v1)."""

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8 or self.group < 0:
            raise ConfigError(
                f"no codes of {self.bits} bits in groups of {self.group}",
                hint="2 to 8 bits; groups of 32, 64 or 128, or 0 for the whole row",
            )

    @property
    def name(self) -> str:
        """int4-g128, int8 (the whole row), int4-g32-asym."""
        group = f"-g{self.group}" if self.group else ""
        return f"int{self.bits}{group}{'' if self.symmetric else '-asym'}"

    @property
    def block(self) -> int:
        """Columns of a group; rows of any length are one group where it is the whole row."""
        return self.group or 1

    @property
    def bits_per_weight(self) -> float:
        """Steps and zero points counted, but for whole rows, where they are as good as nothing."""
        each = 8 * self.scale_dtype.itemsize + (0 if self.symmetric else self.bits)
        return self.bits + (each / self.group if self.group else 0)

    def fit(self, weight: Tensor, importance: Tensor | None = None) -> Fitted:
        """See `Grid.fit`."""
        group = group_of(weight, self.group, self.name)
        groups, weighing = rows_of_groups(weight, importance, group)
        half, high = 1 << (self.bits - 1), (1 << self.bits) - 1
        if self.symmetric:
            found = even_scale(groups, weighing, -half, half - 1, _TRIALS)
            step = rounded(found, self.scale_dtype, self.name).view(len(weight), -1)
            table = torch.arange(-half, half, dtype=torch.float32)
            return Fitted(Lattice(step.float(), table, None, group), {"scale": step})
        found, zero = _step_and_zero(groups, weighing, self.zero_low, high)
        step = rounded(found, self.scale_dtype, self.name).view(len(weight), -1)
        zero = zero.view(len(weight), -1)
        base = -zero * step.float()
        table = torch.arange(high + 1, dtype=torch.float32)
        return Fitted(
            Lattice(step.float(), table, base, group), {"scale": step, "zero": zero.to(torch.int16)}
        )


@dataclass(frozen=True)
class AffineGrid:
    """MLX's codes: from 0, with a step and a bias for each group."""

    bits: int
    group: int = 64
    scale_dtype: torch.dtype = torch.bfloat16
    """What files keep steps and biases in: the model's dtype."""

    @property
    def name(self) -> str:
        """mlx-4bit-g64."""
        return f"mlx-{self.bits}bit-g{self.group}"

    @property
    def block(self) -> int:
        """Columns of a group."""
        return self.group

    @property
    def bits_per_weight(self) -> float:
        """Steps and biases counted."""
        return self.bits + 16 * self.scale_dtype.itemsize / self.group

    def fit(self, weight: Tensor, importance: Tensor | None = None) -> Fitted:
        """See `Grid.fit`."""
        group = group_of(weight, self.group, self.name)
        groups, weighing = rows_of_groups(weight, importance, group)
        high = (1 << self.bits) - 1
        step, base = even_scale_and_base(groups, weighing, high, _ZERO_TRIALS, below_zero=False)
        base = rounded(base, self.scale_dtype, self.name)
        step = _refitted(groups - base.float()[:, None], weighing, step, 0, high)
        step = rounded(step, self.scale_dtype, self.name).view(len(weight), -1)
        base = base.view(len(weight), -1)
        table = torch.arange(high + 1, dtype=torch.float32)
        lattice = Lattice(step.float(), table, base.float(), group)
        return Fitted(lattice, {"scale": step, "bias": base})


def group_of(weight: Tensor, group: int, name: str) -> int:
    """Columns of a group, the whole row for 0.

    Raises:
        DataError: a row is no whole number of groups.
    """
    columns = weight.shape[1]
    if group and columns % group:
        raise DataError(
            f"a row of {columns} is no whole number of groups of {name}",
            hint=f"groups of {name} have {group} weights; a grid without a group takes any row",
        )
    return group or columns


def rounded(values: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """Steps as a file keeps them.

    Raises:
        DataError: one is not finite there.
    """
    kept = values.to(dtype)
    if not kept.isfinite().all():
        raise DataError(f"a weight is not finite, or beyond what {name} can hold", hint="see llmkit doctor")
    return kept


def _step_and_zero(weight: Tensor, importance: Tensor, low: int, high: int) -> tuple[Tensor, Tensor]:
    """Steps, (M,), and zero points, (M,), whole numbers from `low` to `high`.

    The best base is no whole number of steps from zero: the whole numbers on either side of it are tried,
    about the best step and about that which spans all weights and zero, each step fitted anew.
    """
    bottom, top = weight.amin(1).clamp_max(0), weight.amax(1).clamp_min(0)
    span = ((top - bottom) / high, bottom)
    best = best_step = best_zero = None
    for step, base in (even_scale_and_base(weight, importance, high, _ZERO_TRIALS, below_zero=True), span):
        ideal = torch.where(step > 0, -base / torch.where(step > 0, step, 1), 0)
        for zero in (ideal.floor().clamp(low, high), ideal.ceil().clamp(low, high)):
            fitted = step
            for _ in range(2):
                fitted = _refitted(weight, importance, fitted, zero[:, None], high)
            codes = _codes(weight, fitted, zero[:, None], high)
            lost = (importance * ((codes - zero[:, None]) * fitted[:, None] - weight).square()).sum(1)
            if best is None or best_step is None or best_zero is None:
                best, best_step, best_zero = lost, fitted, zero
                continue
            better = lost < best
            best = torch.where(better, lost, best)
            best_step, best_zero = (
                torch.where(better, fitted, best_step),
                torch.where(better, zero, best_zero),
            )
    assert best_step is not None and best_zero is not None
    return best_step, best_zero


def _refitted(weight: Tensor, importance: Tensor, step: Tensor, zero: Tensor | int, high: int) -> Tensor:
    """Steps, (M,), that lose least for the codes of `step`; itself where all are the zero point."""
    codes = _codes(weight, step, zero, high) - zero
    square = (importance * codes * codes).sum(1)
    product = (importance * codes * weight).sum(1)
    return torch.where(square > 0, product / torch.where(square > 0, square, 1), step)


def _codes(weight: Tensor, step: Tensor, zero: Tensor | int, high: int) -> Tensor:
    """(M, g): the codes of weights, 0 to `high`."""
    safe = torch.where(step == 0, 1, step)[:, None]
    return (weight / safe + zero).round_().clamp_(0, high)
