"""Keys and values that layers further up read once more (Gemma 4), within one pass.

Shapes: B batch, T new positions, S all of a text's, K key/value heads, E head_dim.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class TextKeys(NamedTuple):
    """Of one text, or of a batch of them read together."""

    part: slice
    """Of the new positions."""
    keys: Tensor
    """(B, K, S, E)"""
    values: Tensor
    mask: Tensor | None
    """Which of them its new positions see."""


class SharedKeys:
    """What the last layer with keys and values of its own has left for those of its kind behind it.

    It is no dataclass: FSDP copies these on their way into a layer, and the next one would find nothing.
    """

    def __init__(self) -> None:
        self.texts: Sequence[TextKeys] = ()
