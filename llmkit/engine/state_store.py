"""The states of all texts as tensors, and as a model reads and writes them in one pass.

Shapes: S slots.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from llmkit.model.config import ModelConfig
from llmkit.model.layout import Span
from llmkit.model.recurrent.held import StateRows, state_tensors


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

    def rows(self, layer: int, spans: Sequence[Span], slots: Sequence[int]) -> Iterator[StateRows]:
        """The texts of a pass; those with one new position each that stand side by side go together.

        Args:
            layer: whose states.
            spans: of the texts, their new positions end to end.
            slots: of each text's state.
        """
        first = 0
        for single, group in groupby(zip(spans, slots, strict=True), lambda one: one[0].count == 1):
            members = [*group]
            for some in [members] if single else [[one] for one in members]:
                count = sum(span.count for span, _ in some)
                part = slice(first, first + count)
                first += count
                yield self._rows(self.layers[layer], part, [slot for _, slot in some])

    def _rows(self, tensors: Sequence[Tensor], part: slice, slots: Sequence[int]) -> StateRows:
        places = torch.tensor(slots, device=tensors[0].device)
        lone = slice(slots[0], slots[0] + 1) if len(slots) == 1 else None

        def keep(after: Sequence[Tensor]) -> None:
            for tensor, fresh in zip(tensors, after, strict=True):
                tensor[places if lone is None else lone] = fresh.to(tensor.dtype)

        before = tuple(tensor[places if lone is None else lone] for tensor in tensors)
        return StateRows(part, len(slots), before, keep)
