"""What a pass of the model asks of the memory of the positions already seen.

Shapes: B batch, T new positions, S all positions so far, K key/value heads, E head_dim.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

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
