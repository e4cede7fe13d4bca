"""Arithmetic on the weights of several models, one tensor at a time: float32 in, float32 out.

Formulas as published; where mergekit (arcee-ai/mergekit) computes otherwise, the function says so. Nothing
here adds numbers in an order that depends on threads.
"""

import hashlib
import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

COLLINEAR = 0.9995
"""Cosine from which on slerp is a straight line, as the sine that it divides by is nearly 0: mergekit's."""
_PIECE = 1 << 20


def linear(tensors: Sequence[Tensor], weights: Sequence[float], *, normalize: bool) -> Tensor:
    """Σ wᵢ xᵢ, divided by Σ wᵢ where `normalize` (Wortsman et al. 2022, arXiv:2203.05482).

    Args:
        tensors: of one shape.
        weights: one each; their sum is not 0 where it divides.
    """
    total = tensors[0] * weights[0]
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        total.add_(tensor, alpha=weight)
    return total.div_(math.fsum(weights)) if normalize else total


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """A point of the great circle between two tensors, each seen as one long vector.

    sin((1 - t) θ) / sin θ · a + sin(t θ) / sin θ · b, θ the angle between a and b (Shoemake 1985). The
    straight line where |cos θ| > 0.9995, or where one of them is 0.

    Args:
        first: t = 0.
        second: t = 1.
        share: t.
    """
    lengths = math.sqrt(_dot(first, first)) * math.sqrt(_dot(second, second))
    cosine = _dot(first, second) / lengths if lengths else 1.0
    if abs(cosine) > COLLINEAR:
        return first * (1 - share) + second * share
    angle = math.acos(cosine)
    return first * (math.sin((1 - share) * angle) / math.sin(angle)) + second * (
        math.sin(share * angle) / math.sin(angle)
    )


def trim(delta: Tensor, density: float) -> Tensor:
    """The ⌊density · n⌋ numbers of the largest size, all others 0; of equals the first are kept.

    Source: TIES, Yadav et al. 2023, arXiv:2306.01708, step 1.
    """
    flat = delta.reshape(-1).numpy()
    count = int(density * flat.size)
    if count >= flat.size:
        return delta
    if not count:
        return torch.zeros_like(delta)
    size = np.abs(flat)
    least = np.partition(size, flat.size - count)[flat.size - count]
    kept = size > least
    equal = np.flatnonzero(size == least)[: count - int(kept.sum())]
    kept[equal] = True
    return torch.from_numpy(np.where(kept, flat, np.float32(0))).view(delta.shape)


def drop(delta: Tensor, density: float, seed: int, name: str) -> Tensor:
    """Each number kept with probability `density`, divided by it; all others 0.

    Source: DARE, Yu et al. 2023, arXiv:2311.03099. mergekit rescales to the L1 norm of before instead of by
    1 / density, which is the same on average.

    Args:
        delta: any shape.
        density: above 0.
        seed: of the whole merge.
        name: of model and tensor: each draws its own numbers, whatever is merged beside it.
    """
    if density >= 1:
        return delta
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    kept = torch.rand(delta.shape, generator=generator) < density
    return torch.where(kept, delta / density, 0.0)


def elect(deltas: Sequence[Tensor], weights: Sequence[float], *, normalize: bool) -> Tensor:
    """The weighted sum of what agrees with the majority's sign, number by number.

    The sign is that of Σ wᵢ δᵢ (plus where that is 0), and what is not of this sign is left out. `normalize`
    divides by the sum of the weights of what agrees: the mean of TIES, steps 2 and 3 (arXiv:2306.01708).

    Args:
        deltas: of one shape.
        weights: one each.
    """
    weighted = [delta * weight for delta, weight in zip(deltas, weights, strict=True)]
    total = weighted[0].clone()
    for one in weighted[1:]:
        total.add_(one)
    positive = total >= 0
    mixed, divisor = torch.zeros_like(total), torch.zeros_like(total)
    for one, weight in zip(weighted, weights, strict=True):
        agrees = torch.where(positive, one > 0, one < 0)
        mixed.add_(torch.where(agrees, one, 0.0))
        divisor.add_(agrees, alpha=weight)
    return mixed / torch.where(divisor == 0, 1.0, divisor) if normalize else mixed


def stock_share(deltas: Sequence[Tensor]) -> float:
    """How far from the base towards the mean of models that were trained from it apart, for one tensor.

    N cos θ / (1 + (N - 1) cos θ), cos θ the mean over all pairs of differences, each seen as one long vector
    (Model Stock, Jang et al. 2024, arXiv:2403.19522). mergekit takes a mean below 0, which the paper does not
    have, as it comes; here it is 0, as is the cosine to a difference of nothing.

    Args:
        deltas: two differences from the base or more.
    """
    lengths = [math.sqrt(_dot(delta, delta)) for delta in deltas]
    pairs = list(combinations(range(len(deltas)), 2))
    cosines = [
        _dot(deltas[one], deltas[other]) / lengths[one] / lengths[other]
        for one, other in pairs
        if lengths[one] and lengths[other]
    ]
    cosine = max(0.0, math.fsum(cosines) / len(pairs))
    return len(deltas) * cosine / (1 + (len(deltas) - 1) * cosine)


def _dot(first: Tensor, second: Tensor) -> float:
    """Σ aᵢ bᵢ in float64, added in an order of its own."""
    a, b = first.reshape(-1).numpy(), second.reshape(-1).numpy()
    return math.fsum(
        float(np.sum(a[at : at + _PIECE].astype(np.float64) * b[at : at + _PIECE]))
        for at in range(0, a.size, _PIECE)
    )
