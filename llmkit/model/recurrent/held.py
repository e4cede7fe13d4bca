"""States of texts in memory: read before a pass, and written after it.

Shapes: B texts, T new positions, S positions so far.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import wide_dtype
from llmkit.model.recurrent.shapes import state_shapes


@dataclass(frozen=True, slots=True, eq=False)
class StateRows:
    """Texts that have as many new positions each, and their states."""

    part: slice
    """Of the new positions: those of these texts, one text's after the other's."""
    texts: int
    before: tuple[Tensor, ...]
    """(texts, ...) each; zeros where a text begins."""
    keep: Callable[[Sequence[Tensor]], None]
    """Takes what they are after the positions."""


class StateLayer(Protocol):
    """What one layer keeps of all texts of a pass."""

    def rows(self) -> Iterator[StateRows]:
        """The texts, in the order of their new positions."""


class HeldState:
    """One layer's state of a batch of texts that are read together."""

    def __init__(
        self, config: ModelConfig, batch: int, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        self._tensors = state_tensors(config, batch, dtype, device)
        for tensor in self._tensors:
            tensor.zero_()

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return sum(tensor.nbytes for tensor in self._tensors)

    def rows(self) -> Iterator[StateRows]:
        """See `StateLayer`: all of the batch together."""
        yield StateRows(slice(None), len(self._tensors[0]), self._tensors, self._keep)

    def _keep(self, after: Sequence[Tensor]) -> None:
        for tensor, fresh in zip(self._tensors, after, strict=True):
            tensor.copy_(fresh)


class HeldNothing(HeldState):
    """A layer that is an MLP alone, or reads another's keys and values, keeps nothing of a text."""

    def __init__(self) -> None:
        self._tensors = ()


def state_tensors(
    config: ModelConfig, count: int, dtype: torch.dtype, device: torch.device | str
) -> tuple[Tensor, ...]:
    """Room for a layer's state of so many texts, not filled; dtype: of what is no sum."""
    return tuple(
        torch.empty((count, *one.shape), dtype=wide_dtype(dtype) if one.is_sum else dtype, device=device)
        for one in state_shapes(config)
    )
