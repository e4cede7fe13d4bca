"""Factors of several of our matrices as those of one matrix, which a file keeps them as.

Shapes: r rank, in and out of a matrix (out, in).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from llmkit.errors import ConfigError
from llmkit.model.adapters.weights import LowRank

Lengths = Callable[[str], Tensor]
"""(out,) of a module by our name: the lengths of its rows in the base."""


class Joined(Protocol):
    """A matrix of a file."""

    @property
    def ours(self) -> tuple[str, ...]:
        """Our modules that it holds, in order."""

    @property
    def rows(self) -> tuple[int, ...]:
        """out of each of them."""

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Rows of each of ours, (out, ...), to those of the file's."""


def joined(module: Joined, ours: Mapping[str, LowRank], lengths: Lengths | None = None) -> LowRank:
    """Factors of a matrix of theirs: exactly the change that ours make together.

    Different A stand below each other, and each of ours has numbers in the columns of its own only.

    Args:
        module: the matrix, of which one of ours at least is adapted.
        ours: the factors, by our modules.
        lengths: of modules that have no DoRA and are one matrix with some that have.

    Raises:
        ConfigError: there is such a module, and no `lengths`.
    """
    here = [ours[name] for name in module.ours if name in ours]
    if len(module.ours) == 1:
        return here[0]
    stack: list[Tensor] = []
    for one in here:
        if not any(_same(one.A, other) for other in stack):
            stack.append(one.A)
    starts = [sum(len(other) for other in stack[:index]) for index in range(len(stack))]
    rank, scale = sum(map(len, stack)), here[0].scale
    rows = []
    for name, count in zip(module.ours, module.rows, strict=True):
        part = here[0].B.new_zeros(count, rank)
        if name in ours:
            one = ours[name]
            start = next(begin for begin, other in zip(starts, stack, strict=True) if _same(one.A, other))
            part[:, start : start + one.rank] = one.B if one.scale == scale else one.B * (one.scale / scale)
        rows.append(part)
    magnitude = None
    if here[0].magnitude is not None:
        magnitude = module.join([_length(name, ours, lengths).to(here[0].magnitude) for name in module.ours])
    return LowRank(torch.cat(stack), module.join(rows), scale, magnitude)


def _same(one: Tensor, other: Tensor) -> bool:
    return one is other or torch.equal(one, other)


def _length(name: str, ours: Mapping[str, LowRank], lengths: Lengths | None) -> Tensor:
    if name in ours:
        magnitude = ours[name].magnitude
        assert magnitude is not None
        return magnitude
    if lengths is None:
        raise ConfigError(
            f"DoRA: {name} is not adapted, and is one matrix with others that are",
            hint="adapt all of them",
        )
    return lengths(name)
