"""The slow twin of `llmkit.kernels.quantise.neighbours`, in torch: see `llmkit.quant.shared_scales`.

Shapes: M groups, g weights of a group, N codes.
"""

import torch
from torch import Tensor

from llmkit.quant.search_torch import levelled


def neighbours(
    weight: Tensor,
    importance: Tensor | None,
    table: Tensor,
    units: tuple[Tensor, Tensor | None],
    chosen: tuple[Tensor, Tensor | None],
    limits: tuple[int, int],
) -> tuple[Tensor, Tensor | None, Tensor]:
    """See `llmkit.quant.shared_scales.neighbours`."""
    level, top = levelled(importance, weight), 1.0 if importance is None else importance.amax(1)
    if isinstance(top, Tensor):
        top = top.repeat(len(weight) // len(top))
    largest = weight.abs().amax(1)
    size = torch.where(largest > 0, largest, 1)
    x = weight / size[:, None]
    (step_unit, base_unit), (scale, minimum) = units, chosen
    middles = (table[1:] + table[:-1]) / 2
    best: list[Tensor] = []
    moves = (0, -1, 1)
    for more in moves if base_unit is not None else (0,):
        for by in moves:
            whole = (scale + by).clamp(*limits)
            step = whole * (step_unit / size)
            least = torch.zeros_like(scale) if minimum is None else (minimum + more).clamp(*limits)
            base = torch.zeros_like(step) if base_unit is None else -(least * (base_unit / size))
            scaled = torch.where(step == 0, 0, (x.T - base) / torch.where(step == 0, 1, step)).T
            q = table[torch.bucketize(scaled.contiguous(), middles)]
            lost = q * step[:, None] + base[:, None] - x
            weighed = level * q
            found = [
                (level * lost * lost).sum(1),
                *(whole, least, weighed.sum(1), (weighed * q).sum(1), (weighed * x).sum(1)),
            ]
            if not best:
                best = found
            better = found[0] < best[0]
            best = [torch.where(better, new, old) for new, old in zip(found, best, strict=True)]
    error, whole, least, q_sum, qq, qx = best
    total, x_sum = level.expand_as(x).sum(1), (level * x).sum(1)
    sums = torch.stack([error * size * size, q_sum, qq, qx * size, total, x_sum * size], 1)
    sums = sums * (top[:, None] if isinstance(top, Tensor) else top)
    return whole, None if minimum is None else least, sums
