"""The slow twin of `llmkit.kernels.quantise`'s searches, in torch: see `llmkit.quant.search`.

Weights are taken in units of their group: of its largest for steps alone, of its width above its least for
steps with bases. Then no number is far from 1, whatever the scale of a matrix.

Shapes: M groups, g weights of a group, P rows of importance, N codes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_REFINEMENTS = 3
"""Rounds of: the nearest codes, then the best step for them."""


def even_scale(weight: Tensor, importance: Tensor | None, low: int, high: int, trials: int) -> Tensor:
    """See `llmkit.quant.search.even_scale`."""
    inverses = [(high if trial % 2 else low) + 0.1 * (trials // 2 - trial) for trial in range(trials)]
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
    for trial in range(trials):
        first_base = 0.25 * (trial % 3) / high  # other bases are other ways to round
        line.offer(((y - first_base) * (high - 1 + 0.1 * trial)).round_().clamp_(0, high))
    for _ in range(_REFINEMENTS):
        line.offer(line.codes)
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
    for trial in range(len(inverses) + _REFINEMENTS):
        if trial < len(inverses):
            values = to_values(x * inverses[trial])
        else:
            values = to_values(torch.where(step == 0, 0, x * (1 / torch.where(step == 0, 1, step))))
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
        self._y, self._importance, self._high, self._cap = y, importance.expand_as(y), high, cap
        self._total = self._importance.sum(1, keepdim=True)
        self._sum = (self._importance * y).sum(1, keepdim=True)
        self.step = torch.full_like(y[:, :1], 1 / high)
        self.base = torch.zeros_like(self.step)
        self.codes, self._error = self._nearest(self.step, self.base)

    def offer(self, codes: Tensor) -> None:
        """The line that least squares draw through codes, kept where its nearest codes lose less."""
        weighed = self._importance * codes
        q, qq = weighed.sum(1, keepdim=True), (weighed * codes).sum(1, keepdim=True)
        qy = (weighed * self._y).sum(1, keepdim=True)
        determinant = self._total * qq - q * q
        divisor = torch.where(determinant > 0, determinant, 1)
        step = (self._total * qy - self._sum * q) / divisor
        base = (qq * self._sum - q * qy) / divisor
        if self._cap is not None:
            through_cap = torch.where(qq > 0, (qy - self._cap * q) / torch.where(qq > 0, qq, 1), 0)
            step = torch.where(base > self._cap, through_cap, step)
            base = torch.minimum(base, self._cap)
        valid = (determinant > 0) & (step > 0)
        step, base = torch.where(valid, step, self.step), torch.where(valid, base, self.base)
        codes, error = self._nearest(step, base)
        better = error < self._error
        self.step, self.base = torch.where(better, step, self.step), torch.where(better, base, self.base)
        self.codes, self._error = (
            torch.where(better, codes, self.codes),
            torch.minimum(error, self._error),
        )

    def _nearest(self, step: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest codes, (M, g), and what they lose, (M, 1)."""
        codes = ((self._y - base) / step).round_().clamp_(0, self._high)
        lost = codes * step + base - self._y
        return codes, (self._importance * lost * lost).sum(1, keepdim=True)


def levelled(importance: Tensor | None, weight: Tensor) -> Tensor:
    """Importance of each weight, or (1, g) of all groups alike, in units of a group's largest; where none
    counts, all do."""
    if importance is None:
        return torch.ones_like(weight[:1])
    largest = importance.amax(1, keepdim=True)
    level = torch.where(largest > 0, importance / torch.where(largest > 0, largest, 1), 1)
    return level if len(level) == 1 else level.repeat(len(weight) // len(level), 1)
