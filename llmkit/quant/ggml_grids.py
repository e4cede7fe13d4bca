"""The grids of GGUF files that rounding with a search can fill: Q2_K … Q6_K, IQ4_XS, Q4_0 … Q8_0, IQ4_NL."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.formats.ggml_simple import IQ4_VALUES
from llmkit.formats.gguf_types import GGML_TYPES
from llmkit.quant.grid import Fitted
from llmkit.quant.lattice import Lattice
from llmkit.quant.search import even_scale, even_scale_and_base, table_scale
from llmkit.quant.shared_scales import SharedScales, settled


@dataclass(frozen=True)
class GgmlGrid:
    """A type of ggml: groups with a step, and a base or none."""

    name: str
    group: int
    table: tuple[float, ...]
    """The value of each code in steps."""
    scale_low: int = 0
    scale_high: int = 0
    """Range of the whole number that a group's step is of the superblock's; both 0: steps are half-precision
    numbers of their own."""
    with_base: bool = False
    trials: int = 19
    """Of each group's step."""
    refits: int = 0
    """Rounds in which superblocks' numbers are fitted anew, see `settled`; 0: groups' steps are rounded to
    multiples of one and left."""

    @property
    def block(self) -> int:
        """Columns of a block, or superblock."""
        return GGML_TYPES[self.name].values

    @property
    def bits_per_weight(self) -> float:
        """Everything in a block counted."""
        kind = GGML_TYPES[self.name]
        return 8 * kind.nbytes / kind.values

    def fit(self, weight: Tensor, importance: Tensor | None = None) -> Fitted:
        """See `Grid.fit`."""
        rows, columns = weight.shape
        if columns % self.block:
            raise DataError(
                f"a row of {columns} is no whole number of blocks of {self.name}",
                hint=f"blocks of {self.name} have {self.block} weights",
            )
        counts = None if importance is None else importance.reshape(-1, self.group)
        groups = weight.reshape(-1, self.group)
        step, base = self._search(groups, counts)
        step = step.reshape(rows, -1)
        base = None if base is None else base.reshape(rows, -1)
        if not self.scale_high:
            d = _half(step, self.name)
            stored = {"d": d}
            if base is not None:
                stored["m"] = _half(base, self.name)
                base = stored["m"].float()
            return Fitted(self._lattice(d.float(), base), stored)
        shared = self._shared(groups, counts, step, base)
        per_block = self.block // self.group
        blocks = (rows, -1, per_block)
        d, scales = shared.d.view(rows, -1), shared.scale.view(blocks)
        stored = {"d": d, "scales": scales}
        new_base = None
        if shared.dmin is not None and shared.minimum is not None:
            dmin, mins = shared.dmin.view(rows, -1), shared.minimum.view(blocks)
            stored |= {"dmin": dmin, "mins": mins}
            new_base = -(dmin.float()[..., None] * mins).reshape(rows, -1)
        return Fitted(self._lattice((d.float()[..., None] * scales).reshape(rows, -1), new_base), stored)

    @property
    def _values(self) -> Tensor:
        return torch.from_numpy(np.array(self.table, np.float32))

    def _search(self, groups: Tensor, importance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.with_base:
            return even_scale_and_base(
                groups, importance, len(self.table) - 1, self.trials, below_zero=bool(self.scale_high)
            )
        if self.name.startswith("IQ4"):
            return table_scale(groups, importance, self._values, self.trials), None
        return even_scale(groups, importance, int(self.table[0]), int(self.table[-1]), self.trials), None

    def _shared(
        self, groups: Tensor, importance: Tensor | None, step: Tensor, base: Tensor | None
    ) -> SharedScales:
        d, scale = self._multiples(step)
        dmin, minimum = (None, None) if base is None else self._multiples(-base)
        first = SharedScales(d, scale, dmin, minimum)
        if not self.refits:
            return first
        limits = self.scale_low, self.scale_high
        return settled(groups, importance, self._values, first, limits, self.refits)

    def _multiples(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """A superblock's half-precision number, (B,), and each group's whole multiple of it, (M,)."""
        steps = numbers.reshape(-1, self.block // self.group)
        largest = steps.gather(1, steps.abs().argmax(1, keepdim=True))
        end = self.scale_low if self.scale_low < 0 else self.scale_high
        d = _half(largest / end, self.name)
        safe = torch.where(d == 0, 1, d.float())
        scales = torch.where(d == 0, 0, steps / safe).round_().clamp_(self.scale_low, self.scale_high)
        return d.squeeze(1), scales.flatten()

    def _lattice(self, step: Tensor, base: Tensor | None) -> Lattice:
        return Lattice(step, self._values, base, self.group)


_LARGEST_HALF = 65504.0


def _half(values: Tensor, name: str) -> Tensor:
    half = values.half()
    if half.numel() and not half.float().abs().max() <= _LARGEST_HALF:  # nor where it is no number
        raise DataError(f"a weight is not finite, or beyond what {name} can hold", hint="see llmkit doctor")
    return half


def _whole(low: int, high: int) -> tuple[float, ...]:
    return tuple(float(code) for code in range(low, high + 1))


_IQ4 = tuple(float(value) for value in IQ4_VALUES)
GGML_GRIDS = {
    grid.name: grid
    for grid in (
        GgmlGrid("Q2_K", 16, _whole(0, 3), 0, 15, with_base=True, trials=21, refits=2),
        GgmlGrid("Q3_K", 16, _whole(-4, 3), -32, 31),
        GgmlGrid("Q4_K", 32, _whole(0, 15), 0, 63, with_base=True, trials=21, refits=2),
        GgmlGrid("Q5_K", 32, _whole(0, 31), 0, 63, with_base=True, trials=21, refits=2),
        GgmlGrid("Q6_K", 16, _whole(-32, 31), -128, 127, refits=1),
        GgmlGrid("IQ4_XS", 32, _IQ4, -32, 31, trials=15, refits=1),
        GgmlGrid("IQ4_NL", 32, _IQ4, trials=15),
        GgmlGrid("Q4_0", 32, _whole(-8, 7)),
        GgmlGrid("Q4_1", 32, _whole(0, 15), with_base=True, trials=21),
        GgmlGrid("Q5_0", 32, _whole(-16, 15)),
        GgmlGrid("Q5_1", 32, _whole(0, 31), with_base=True, trials=21),
        GgmlGrid("Q8_0", 32, _whole(-127, 127), trials=3),
    )
}
