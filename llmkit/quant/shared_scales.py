"""Steps and bases of groups as whole multiples of a number of their superblock, chosen together.

Rounding each group's best step to a multiple leaves its base, and what the other groups have, out of account.
So each group takes the pair of whole numbers, of those next to its own, whose nearest codes lose least; then
the superblock's numbers are fitted to all its groups by least squares; and again, while it loses less.

Shapes: R rows, B superblocks, M groups, g weights of a group, N codes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.kernels import quantise
from llmkit.kernels.memory import Floats
from llmkit.quant import shared_torch
from llmkit.quant.search import as_arrays, natively


@dataclass(frozen=True)
class SharedScales:
    """Of every superblock."""

    d: Tensor
    """(B,) float16: a group's step is `d * scale`."""
    scale: Tensor
    """(M,) whole numbers in float32."""
    dmin: Tensor | None
    """(B,) float16: a group's base is `-dmin * minimum`."""
    minimum: Tensor | None
    """(M,)."""


def settled(
    weight: Tensor,
    importance: Tensor | None,
    table: Tensor,
    first: SharedScales,
    limits: tuple[int, int],
    rounds: int = 2,
) -> SharedScales:
    """Scales that lose no more than the `first` ones.

    Args:
        weight: (M, g). importance: as in `llmkit.quant.search`.
        table: (N,) ascending: the value of each code in steps.
        limits: the least and the largest scale and minimum.
        rounds: in which superblocks' numbers are fitted anew.
    """
    best, sums = _stepped(weight, importance, table, first, limits)
    for _ in range(rounds):
        fitted = _fitted(best, sums)
        found, found_sums = _stepped(weight, importance, table, fitted, limits)
        blocks = len(first.d)
        error, found_error = (one[:, 0].view(blocks, -1).sum(1) for one in (sums, found_sums))
        better = found_error < error
        if not better.any():
            break
        groups = better.repeat_interleave(len(weight) // blocks)
        best = SharedScales(
            torch.where(better, found.d, best.d),
            torch.where(groups, found.scale, best.scale),
            _where(better, found.dmin, best.dmin),
            _where(groups, found.minimum, best.minimum),
        )
        sums = torch.where(groups[:, None], found_sums, sums)
    return best


def neighbours(
    weight: Tensor,
    importance: Tensor | None,
    table: Tensor,
    units: tuple[Tensor, Tensor | None],
    chosen: tuple[Tensor, Tensor | None],
    limits: tuple[int, int],
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Of each group's whole numbers and those next to them, what loses least.

    Args:
        weight, importance, table: as for `settled`.
        units: (M,) of a group's step and of its base taken negative.
        chosen: (M,) whole multiples of these.
        limits: as for `settled`.

    Returns:
        (M,) of each, and (M, 6) sums over a group's weights x, with the values q of their nearest codes and
        counted by their importance: lost squares, q, q², qx, 1, x.
    """
    if not natively(weight, importance):
        return shared_torch.neighbours(weight.float(), importance, table, units, chosen, limits)
    groups, counts = as_arrays(weight, importance)
    scale, minimum, sums = quantise.neighbours(
        groups, counts, table.numpy(), _as_arrays(units), _as_arrays(chosen), limits
    )
    return (
        torch.from_numpy(scale),
        None if minimum is None else torch.from_numpy(minimum),
        torch.from_numpy(sums),
    )


def _as_arrays(pair: tuple[Tensor, Tensor | None]) -> tuple[Floats, Floats | None]:
    first, second = pair
    return first.contiguous().numpy(), None if second is None else second.contiguous().numpy()


def _stepped(
    weight: Tensor, importance: Tensor | None, table: Tensor, at: SharedScales, limits: tuple[int, int]
) -> tuple[SharedScales, Tensor]:
    per_block = len(weight) // len(at.d)
    d = at.d.float().repeat_interleave(per_block)
    dmin = None if at.dmin is None else at.dmin.float().repeat_interleave(per_block)
    units, chosen = (d, dmin), (at.scale, at.minimum)
    scale, minimum, sums = neighbours(weight, importance, table, units, chosen, limits)
    return SharedScales(at.d, scale, at.dmin, minimum), sums


def _fitted(at: SharedScales, sums: Tensor) -> SharedScales:
    """The superblocks' numbers that lose least for the codes and whole numbers as they are."""
    blocks = len(at.d)
    _, q, qq, qx, total, x = sums.view(blocks, -1, 6).unbind(2)
    scale = at.scale.view(blocks, -1)
    square, product = (scale * scale * qq).sum(1).double(), (scale * qx).sum(1).double()
    if at.dmin is None or at.minimum is None:
        d = torch.where(square > 0, product / torch.where(square > 0, square, 1), at.d.double())
        return SharedScales(_as_halves(d, at.d), at.scale, None, None)
    minimum = at.minimum.view(blocks, -1)
    cross, least = (scale * minimum * q).sum(1).double(), (minimum * minimum * total).sum(1).double()
    away = (minimum * x).sum(1).double()
    determinant = square * least - cross * cross
    fine = determinant > 1e-4 * square * least  # else the sums are too coarse to tell the two apart
    divisor = torch.where(fine, determinant, 1)
    d = torch.where(fine, (product * least - away * cross) / divisor, at.d.double())
    dmin = torch.where(fine, (product * cross - away * square) / divisor, at.dmin.double())
    return SharedScales(_as_halves(d, at.d), at.scale, _as_halves(dmin, at.dmin), at.minimum)


def _as_halves(values: Tensor, otherwise: Tensor) -> Tensor:
    half = values.half()
    return torch.where(half.isfinite(), half, otherwise)


def _where(mask: Tensor, new: Tensor | None, old: Tensor | None) -> Tensor | None:
    return None if new is None or old is None else torch.where(mask, new, old)
