"""The states of all texts as tensors, and as a model reads and writes them in one pass.

Shapes: S slots.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from llmkit.model.config import ModelConfig
from llmkit.model.layout import Span
from llmkit.model.recurrent.held import StateRows, state_tensors


class StateGroup(NamedTuple):
    """Texts of a pass that are read together."""

    part: slice
    """Of the new positions of all texts."""
    places: slice | Tensor
    """The slots of their states."""


class StateStore:
    """Room for so many states. See `StateSlots`.

    Memory that was never written is not taken: the tensors are as large as they may become.

    Attributes:
        layers: of each layer of state its tensors, (S, ...).
    """

    def __init__(
        self, config: ModelConfig, slots: int, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        self.layers = {layer: state_tensors(config, slots, dtype, device) for layer in config.state_layers}

    @property
    def nbytes(self) -> int:
        """Bytes that all states may take."""
        return sum(tensor.nbytes for tensors in self.layers.values() for tensor in tensors)

    def copy(self, source: int, target: int) -> None:
        """See `StateSlots`."""
        for tensors in self.layers.values():
            for tensor in tensors:
                tensor[target] = tensor[source]

    def begin(self, slot: int) -> None:
        """A text begins: its state is zeros."""
        for tensors in self.layers.values():
            for tensor in tensors:
                tensor[slot].zero_()

    def groups(self, spans: Sequence[Span], slots: Sequence[int]) -> list[StateGroup]:
        """Which texts of a pass go together, the same for every layer: those with one new position each that
        stand side by side.

        Args:
            spans: of the texts, their new positions end to end.
            slots: of each text's state.
        """
        made, first = [], 0
        for single, group in groupby(zip(spans, slots, strict=True), lambda one: one[0].count == 1):
            members = [*group]
            for some in [members] if single else [[one] for one in members]:
                count = sum(span.count for span, _ in some)
                made.append(StateGroup(slice(first, first + count), self._places([slot for _, slot in some])))
                first += count
        return made

    def rows(self, layer: int, groups: Sequence[StateGroup]) -> Iterator[StateRows]:
        """What one layer keeps of the texts of a pass, group by group."""
        tensors = self.layers[layer]
        for group in groups:
            before = tuple(tensor[group.places] for tensor in tensors)
            keep = partial(_keep, tensors, group.places)
            yield StateRows(group.part, len(before[0]), before, keep)

    def _places(self, slots: Sequence[int]) -> slice | Tensor:
        """A slice for one text, whose state is then read where it is."""
        if len(slots) == 1:
            return slice(slots[0], slots[0] + 1)
        device = next(iter(self.layers.values()))[0].device
        return torch.tensor(slots, device=device)


def _keep(tensors: Sequence[Tensor], places: slice | Tensor, after: Sequence[Tensor]) -> None:
    for tensor, fresh in zip(tensors, after, strict=True):
        tensor[places] = fresh.to(tensor.dtype)
