"""The slow twin of `llmkit.kernels.quantise`'s searches, in torch: see `llmkit.quant.search`.

Weights are taken in units of their group: of its largest for steps alone, of its width above its least for
steps with bases. Then no number is far from 1, whatever the scale of a matrix.

Shapes: M groups, g weights of a group, P rows of importance, N codes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_NARROW_LINES = 9
"""Trials, at most, before those that leave large weights out."""


def even_scale(weight: Tensor, importance: Tensor | None, low: int, high: int, trials: int) -> Tensor:
    """See `llmkit.quant.search.even_scale`."""
    inside = [1 - 0.25 * trial for trial in range(trials)]
    inverses = [high - by if trial % 2 else low + by for trial, by in enumerate(inside)]
    return _best_step(weight, importance, inverses, lambda scaled: scaled.round().clamp_(low, high))


def table_scale(weight: Tensor, importance: Tensor | None, table: Tensor, trials: int) -> Tensor:
    """See `llmkit.quant.search.table_scale`."""
    middles = (table[1:] + table[:-1]) / 2
    spread = float(table.abs().max())
    inverses = [
        float(end) + (trial - trials // 2) * spread / 127
        for end in (table[0], table[-1])
        for trial in range(trials)
    ]
    return _best_step(
        weight, importance, inverses, lambda scaled: table[torch.bucketize(scaled.contiguous(), middles)]
    )


def even_scale_and_base(
    weight: Tensor, importance: Tensor | None, high: int, trials: int, *, below_zero: bool
) -> tuple[Tensor, Tensor]:
    """See `llmkit.quant.search.even_scale_and_base`."""
    low, top = weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    if below_zero:
        low = low.clamp_max(0)
    width = top - low
    safe = torch.where(width > 0, width, 1)
    y = (weight - low) / safe
    line = _Line(y, levelled(importance, weight), high, -low / safe if below_zero else None)
    narrow = min(trials, _NARROW_LINES)
    for trial in range(trials):
        if trial < narrow:
            wider, moved = 0.44 - 0.18 * (narrow - 1 - trial) + 0.4 * (trial % 2), -0.5 * (trial % 2)
        else:
            wider = 0.2 * trial - 1
            moved = -0.25 - wider * (trial % 3) / 2
        line.offer((y * (high + wider) + moved).round_().clamp_(0, high))
    step = torch.where(width > 0, line.step * width, 0)
    base = low + torch.where(width > 0, line.base * width, 0)
    return step.squeeze(1), base.squeeze(1)


def _best_step(
    weight: Tensor, importance: Tensor | None, inverses: list[float], to_values: Callable[[Tensor], Tensor]
) -> Tensor:
    """The step, (M,), that explains most of the weights; for codes' values q it is Σ i q x / Σ i q²."""
    importance = levelled(importance, weight)
    largest = weight.gather(1, weight.abs().argmax(1, keepdim=True))  # (M, 1), with its sign
    x = weight / torch.where(largest == 0, 1, largest)
    step, gain = torch.zeros_like(largest), torch.zeros_like(largest)
    for inverse in inverses:
        values = to_values(x * inverse)
        product = (importance * values * x).sum(1, keepdim=True)
        square = (importance * values * values).sum(1, keepdim=True)
        divisor = torch.where(square > 0, square, 1)
        explains = torch.where(square > 0, product * product / divisor, 0)
        step = torch.where(explains > gain, product / divisor, step)
        gain = torch.maximum(explains, gain)
    return (step * largest).squeeze(1)


class _Line:
    """Bases and steps, (M, 1), of the lines `base + step * code` through weights y from 0 to 1."""

    def __init__(self, y: Tensor, importance: Tensor, high: int, cap: Tensor | None) -> None:
        """`cap`: (M, 1), above which no base may be."""
        self._y, self._importance, self._cap = y, importance.expand_as(y), cap
        self._total = self._importance.sum(1, keepdim=True)
        self._sum = (self._importance * y).sum(1, keepdim=True)
        self.step = torch.full_like(y[:, :1], 1 / high)
        self.base = torch.zeros_like(self.step)
        self._gain = torch.full_like(self.step, -torch.inf)

    def offer(self, codes: Tensor) -> None:
        """The line that least squares draw through codes, kept where it explains more."""
        weighed = self._importance * codes
        q, qq = weighed.sum(1, keepdim=True), (weighed * codes).sum(1, keepdim=True)
        qy = (weighed * self._y).sum(1, keepdim=True)
        determinant, along = self._total * qq - q * q, self._total * qy - self._sum * q
        step = along / torch.where(determinant > 0, determinant, 1)
        base, gain = (self._sum - step * q) / self._total, step * along
        if self._cap is not None:
            over = qy - self._cap * q
            through_cap = torch.where(qq > 0, over / torch.where(qq > 0, qq, 1), 0)
            at_cap = self._cap * (2 * self._sum - self._cap * self._total)
            capped = base > self._cap
            step = torch.where(capped, through_cap, step)
            gain = torch.where(capped, self._total * (at_cap + over * through_cap) - self._sum.square(), gain)
            base = torch.minimum(base, self._cap)
        better = (determinant > 0) & (step > 0) & (gain > self._gain)
        self.step, self.base = torch.where(better, step, self.step), torch.where(better, base, self.base)
        self._gain = torch.where(better, gain, self._gain)


def levelled(importance: Tensor | None, weight: Tensor) -> Tensor:
    """Importance of each weight, or (1, g) of all groups alike, in units of a group's largest; where none
    counts, all do."""
    if importance is None:
        return torch.ones_like(weight[:1])
    largest = importance.amax(1, keepdim=True)
    level = torch.where(largest > 0, importance / torch.where(largest > 0, largest, 1), 1)
    return level if len(level) == 1 else level.repeat(len(weight) // len(level), 1)
