"""A recipe for one model out of several, and one tensor made by it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.model.algebra.algebra import drop, elect, linear, slerp, stock_share, trim
from llmkit.model.algebra.method import Method


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How tensors of one name are put together."""

    method: Method
    weights: tuple[float, ...]
    """One for each model; of slerp that of the second is t."""
    densities: tuple[float, ...] = ()
    """Of ties and dare: the share of the difference's numbers that is kept, one for each model."""
    normalize: bool = False
    """Divide by the sum of the weights."""
    scale: float = 1.0
    """λ: what the merged difference is multiplied with."""
    seed: int = 0


def mix(recipe: Recipe, name: str, tensors: Sequence[Tensor], base: Tensor | None) -> Tensor:
    """One tensor of the merged model, float32.

    Args:
        recipe: the method and its numbers.
        name: of the tensor: numbers that are dropped at random are its own.
        tensors: of the models, float32, in the order of the weights.
        base: of the common ancestor; methods on differences need it.
    """
    if recipe.method == "linear":
        return linear(tensors, recipe.weights, normalize=recipe.normalize)
    if recipe.method == "slerp":
        return slerp(tensors[0], tensors[1], recipe.weights[1])
    assert base is not None
    deltas = [_sparse(recipe, index, name, tensor - base) for index, tensor in enumerate(tensors)]
    if recipe.method == "model-stock":
        mean = linear(deltas, (1.0,) * len(deltas), normalize=True)
        return torch.add(base, mean, alpha=stock_share(deltas))
    if recipe.method in ("ties", "dare-ties"):
        mixed = elect(deltas, recipe.weights, normalize=recipe.normalize)
    else:
        mixed = linear(deltas, recipe.weights, normalize=recipe.normalize)
    return torch.add(base, mixed, alpha=recipe.scale)


def _sparse(recipe: Recipe, index: int, name: str, delta: Tensor) -> Tensor:
    if recipe.method == "ties":
        return trim(delta, recipe.densities[index])
    if recipe.method in ("dare", "dare-ties"):
        return drop(delta, recipe.densities[index], recipe.seed, f"{index}/{name}")
    return delta
