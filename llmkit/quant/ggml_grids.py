"""The grids of GGUF files that rounding with a search can fill: Q2_K … Q6_K, IQ4_XS, Q4_0 … Q8_0, IQ4_NL."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.formats.gguf.simple import IQ4_VALUES
from llmkit.formats.gguf.types import GGML_TYPES
from llmkit.quant.grid import Fitted
from llmkit.quant.lattice import Lattice
from llmkit.quant.search import encode, even_scale, even_scale_and_base, natively, table_scale
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
    trials: int = 9
    """Of each group's step, see `search`."""
    weighed_trials: int = 21
    """The same where weights do not count alike."""
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
        rows = len(weight)
        groups, counts = self._groups(weight, importance)
        step, base = self._search(groups, counts)
        if not self.scale_high:
            return self._plain(rows, step, base)
        shared = self._shared(groups, counts, step, base)
        blocks = (rows, -1, self.block // self.group)
        stored = {"d": shared.d.view(rows, -1), "scales": shared.scale.view(blocks)}
        if shared.dmin is not None and shared.minimum is not None:
            stored |= {"dmin": shared.dmin.view(rows, -1), "mins": shared.minimum.view(blocks)}
        return Fitted(self.lattice(stored), stored)

    def lattice(self, stored: Mapping[str, Tensor]) -> Lattice:
        """The values that what a file keeps of superblocks allows: see `Fitted.stored`."""
        rows, base = len(stored["d"]), None
        if "dmin" in stored:
            base = -(stored["dmin"].float()[..., None] * stored["mins"]).reshape(rows, -1)
        return self._lattice((stored["d"].float()[..., None] * stored["scales"]).reshape(rows, -1), base)

    def fit_and_round(self, weight: Tensor, importance: Tensor | None = None) -> tuple[Fitted, Tensor] | None:
        """What `fit` and then `Lattice.round` make, in one go; None: only they do.

        Args and raises: see `Grid.fit`.

        Returns:
            (R, C) uint8 beside what was fitted.
        """
        if self.scale_high or not natively(weight, importance):
            return None
        groups, counts = self._groups(weight, importance)
        trials = self._trials(importance)
        step, base, codes = encode(groups, counts, self._values, trials, with_base=self.with_base)
        _check_halves(self.name, step if base is None else torch.stack((step, base)))
        rows = len(weight)
        step, base = step.view(rows, -1), None if base is None else base.view(rows, -1)
        stored = {"d": step.half()} if base is None else {"d": step.half(), "m": base.half()}
        return Fitted(self._lattice(step, base), stored), codes.view(weight.shape)

    @property
    def _values(self) -> Tensor:
        return torch.from_numpy(np.array(self.table, np.float32))

    def _groups(self, weight: Tensor, importance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        columns = weight.shape[1]
        if columns % self.block:
            raise DataError(
                f"a row of {columns} is no whole number of blocks of {self.name}",
                hint=f"blocks of {self.name} have {self.block} weights",
            )
        counts = None if importance is None else importance.reshape(-1, self.group)
        return weight.reshape(-1, self.group), counts

    def _trials(self, importance: Tensor | None) -> int:
        return self.trials if importance is None else self.weighed_trials

    def _plain(self, rows: int, step: Tensor, base: Tensor | None) -> Fitted:
        """Groups with half-precision numbers of their own."""
        stored = {"d": _half(step, self.name).view(rows, -1)}
        if base is not None:
            stored["m"] = _half(base, self.name).view(rows, -1)
            base = stored["m"].float()
        return Fitted(self._lattice(stored["d"].float(), base), stored)

    def _search(self, groups: Tensor, importance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        trials = self._trials(importance)
        if self.with_base:
            return even_scale_and_base(
                groups, importance, len(self.table) - 1, trials, below_zero=bool(self.scale_high)
            )
        if self.name.startswith("IQ4"):
            return table_scale(groups, importance, self._values, trials), None
        return even_scale(groups, importance, int(self.table[0]), int(self.table[-1]), trials), None

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
        d = _away_from_zero(_half(largest / end, self.name), largest / end)
        safe = torch.where(d == 0, 1, d.float())
        scales = torch.where(d == 0, 0, steps / safe).round_().clamp_(self.scale_low, self.scale_high)
        return d.squeeze(1), scales.flatten()

    def _lattice(self, step: Tensor, base: Tensor | None) -> Lattice:
        return Lattice(step, self._values, base, self.group)


_LARGEST_HALF = 65504.0


_SMALLEST_HALF = 2.0**-24
_NORMAL_HALF = 2.0**-14


def _away_from_zero(half: Tensor, values: Tensor) -> Tensor:
    """The halves, those below the normal ones rounded up: of a smaller one the steps are too many times."""
    up = torch.ceil(values.abs() / _SMALLEST_HALF) * _SMALLEST_HALF * values.sign()
    return torch.where(values.abs() < _NORMAL_HALF, up.half(), half)


def _half(values: Tensor, name: str) -> Tensor:
    half = values.half()
    _check_halves(name, half.float())
    return half


def _check_halves(name: str, values: Tensor) -> None:
    most = torch.stack(values.aminmax()).abs().max() if values.numel() else torch.tensor(0.0)
    if not most <= _LARGEST_HALF:  # nor where it is no number
        raise DataError(f"a weight is not finite, or beyond what {name} can hold", hint="see llmkit doctor")


def _whole(low: int, high: int) -> tuple[float, ...]:
    return tuple(float(code) for code in range(low, high + 1))


_IQ4 = tuple(float(value) for value in IQ4_VALUES)
_line = partial(GgmlGrid, with_base=True, trials=9, weighed_trials=30)
_table = partial(GgmlGrid, table=_IQ4, trials=15, weighed_trials=31)
GGML_GRIDS = {
    grid.name: grid
    for grid in (
        _line("Q2_K", 16, _whole(0, 3), 0, 15, refits=2),
        GgmlGrid("Q3_K", 16, _whole(-4, 3), -32, 31),
        _line("Q4_K", 32, _whole(0, 15), 0, 63, refits=2),
        _line("Q5_K", 32, _whole(0, 31), 0, 63, refits=2),
        GgmlGrid("Q6_K", 16, _whole(-32, 31), -128, 127, refits=1),
        _table("IQ4_XS", 32, scale_low=-32, scale_high=31, refits=1),
        _table("IQ4_NL", 32),
        GgmlGrid("Q4_0", 32, _whole(-8, 7)),
        _line("Q4_1", 32, _whole(0, 15), trials=3),
        GgmlGrid("Q5_0", 32, _whole(-16, 15)),
        _line("Q5_1", 32, _whole(0, 31)),
        GgmlGrid("Q8_0", 32, _whole(-127, 127)),
    )
}
