"""What a pass asks of the memory of positions already seen, and a layer's in one piece.

Shapes: B batch, T new positions, S all positions so far, K key/value heads, E head_dim.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from llmkit.errors import UsageError
from llmkit.model.layout import Layout, Span
from llmkit.model.recurrent.held import StateLayer


class HeldLayer(Protocol):
    """What one layer keeps of the positions already seen."""

    def extend(
        self, new: Sequence[Tensor], layout: Layout
    ) -> Iterator[tuple[slice, list[Tensor], Tensor | None]]:
        """Keep new positions, and give back text by text all that there are.

        Args:
            new: keys and values, each (B, K, T, E); or the rows of latent attention, (B, T, W).
            layout: of the layer.

        Yields:
            Which of the new positions belong to a text; each kept tensor with all of the text's positions, in
            the shape of the new ones with S for T; and which of these its new positions see.
        """


class Both(NamedTuple):
    """What a layer keeps that attends and has a state beside it."""

    keys: HeldLayer
    state: StateLayer


class Cache(Protocol):
    """What all layers keep, for one pass of the model."""

    @property
    def layers(self) -> Sequence[HeldLayer | StateLayer | Both]:
        """First to last."""

    def spans(self, count: int) -> Sequence[Span]:
        """Where the `count` new positions of a pass stand, text after text."""

    def advance(self, count: int) -> None:
        """Every layer has the new positions now."""


class Held:
    """Tensors reserved once, of which `length` positions are filled.

    Keys and values are (B, K, capacity, E) each. Latent attention (2405.04434) has one, (B, capacity, W): a
    row is the token's latent after its norm, then the rotated numbers of its key that all heads share.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors
        self.length = 0

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def extend(
        self, new: Sequence[Tensor], layout: Layout
    ) -> Iterator[tuple[slice, list[Tensor], Tensor | None]]:
        """See `HeldLayer`: the texts of a batch are given back together."""
        whole = zip(self.store(new), new, strict=True)
        yield slice(None), [tensor.to(fresh.dtype) for tensor, fresh in whole], layout.mask

    def store(self, new: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Keep T new positions after those held.

        Args:
            new: (..., T, width) for each tensor.

        Returns:
            All positions of each, (..., S, width), in the cache's dtype.

        Raises:
            UsageError: the cache is full.
        """
        end, capacity = self.length + new[0].shape[-2], self.tensors[0].shape[-2]
        if end > capacity:
            raise UsageError(
                f"the cache holds {capacity} positions and {end} are needed",
                hint="reserve a larger capacity, or generate fewer tokens",
            )
        for tensor, fresh in zip(self.tensors, new, strict=True):
            tensor[..., self.length : end, :] = fresh
        return tuple(tensor[..., :end, :] for tensor in self.tensors)
