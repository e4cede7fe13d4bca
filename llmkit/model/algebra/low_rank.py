"""The best matrix of a low rank: what a LoRA adapter can hold of the difference of two models.

Shapes: O outputs, I inputs, R rank.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_FLOOR = 1e-15
"""Squared singular values below this share of the largest are rounding: no rank is spent on them."""


@dataclass(frozen=True)
class Factors:
    """b a is the matrix of rank R nearest to a given one."""

    a: Tensor
    """(R, I) float32."""
    b: Tensor
    """(O, R) float32."""
    explained: float
    """Share of the squares' sum that is kept: 1 for a matrix of rank R, and for one of zeros."""
    norm: float
    """Of the given matrix: the root of its squares' sum."""


def factorise(matrix: Tensor, *, rank: int | None = None, energy: float | None = None) -> Factors:
    """The nearest matrix of low rank (Eckart and Young 1936), both factors of one size.

    The singular vectors of the shorter side are eigenvectors of the Gram matrix, computed in float64: its
    squares cost 16 digits half of theirs, which the strong directions do not notice.

    Args:
        matrix: (O, I) float32.
        rank: R at most; the matrix may have less to give, but 1 is the least.
        energy: the lowest R that keeps this share of the squares' sum; above 0, at most 1. With both, the
            smaller of the two.
    """
    wide = matrix.double()
    tall = wide.shape[0] > wide.shape[1]
    if tall:
        wide = wide.t()
    values, vectors = torch.linalg.eigh(wide @ wide.t())  # ascending
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    total = float(wide.square().sum())
    count = max(1, int((values > _FLOOR * values[0]).sum()))
    if rank is not None:
        count = min(count, rank)
    if energy is not None and total:
        reached = values.cumsum(0) >= energy * total * (1 - _FLOOR * len(values))
        count = min(count, int(reached.int().argmax()) + 1 if reached.any() else count)
    kept = _signed(vectors[:, :count])  # (shorter, R)
    strength = values[:count].clamp_min(_FLOOR * max(total, _FLOOR)).sqrt().sqrt()  # (R,)
    short, long = kept * strength, (kept.t() @ wide) / strength[:, None]
    explained = float(values[:count].sum()) / total if total else 1.0
    b, a = (long.t(), short.t()) if tall else (short, long)
    return Factors(a.float().contiguous(), b.float().contiguous(), min(explained, 1.0), total**0.5)


def _signed(vectors: Tensor) -> Tensor:
    """The same directions, the largest number of each above 0: a library may turn them round at will."""
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0)
