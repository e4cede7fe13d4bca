"""The states of all texts as tensors, and as a model reads and writes them in one pass.

Shapes: S slots.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.engine.saved_states import StateKind
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import dtype_name
from llmkit.model.layout import Span
from llmkit.model.recurrent.held import StateRows, state_tensors


class StateGroup(NamedTuple):
    """Texts of a pass that are read together."""

    part: slice
    """Of the new positions of all texts."""
    places: slice | Tensor
    """The slots of their states."""
    copies: slice | Tensor | None = None
    """The slots that have their states behind these positions too."""


@dataclass
class _Piece:
    """Positions of a text, or one of several texts each."""

    count: int
    slots: list[int]
    copies: list[int]
    """None, or as many."""

    def joins(self, other: "_Piece") -> bool:
        """Whether another, which comes next, can be read together with it."""
        single = self.count == other.count == 1 and not {*self.slots} & {*other.slots}
        return single and bool(self.copies) == bool(other.copies)


class StateStore:
    """Room for so many states. See `StateSlots`.

    Memory that was never written is not taken: the tensors are as large as they may become.

    Attributes:
        layers: of each layer of state its tensors, (S, ...).
        kinds: see `StateSlots`.
    """

    def __init__(
        self, config: ModelConfig, slots: int, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        self.layers = {layer: state_tensors(config, slots, dtype, device) for layer in config.state_layers}
        self._tensors = [tensor for tensors in self.layers.values() for tensor in tensors]
        self.kinds = [StateKind(dtype_name(one.dtype), tuple(one.shape[1:])) for one in self._tensors]

    @property
    def nbytes(self) -> int:
        """Bytes that all states may take."""
        return sum(tensor.nbytes for tensor in self._tensors)

    def copy(self, source: int, target: int) -> None:
        """See `StateSlots`."""
        for tensor in self._tensors:
            tensor[target] = tensor[source]

    def read(self, number: int, slot: int) -> NDArray[np.uint8]:
        """See `StateSlots`."""
        return self._tensors[number][slot].cpu().flatten().view(torch.uint8).numpy()

    def write(self, number: int, slot: int, content: NDArray[np.uint8]) -> None:
        """See `StateSlots`."""
        place = self._tensors[number][slot]
        place.copy_(torch.from_numpy(content).view(place.dtype).view(place.shape))

    def begin(self, slot: int) -> None:
        """A text begins: its state is zeros."""
        for tensor in self._tensors:
            tensor[slot].zero_()

    def groups(
        self, spans: Sequence[Span], slots: Sequence[int], copies: Sequence[int] = ()
    ) -> list[StateGroup]:
        """Which texts of a pass go together, the same for every layer: those with one new position each that
        stand side by side. A text is read in pieces that end where its state is copied.

        Args:
            spans: of the texts, their new positions end to end.
            slots: of each text's state.
            copies: of each new position the slot that is to have the state behind it too, or -1; or empty.
        """
        pieces: list[_Piece] = []
        for piece in _pieces(spans, slots, copies):
            if pieces and pieces[-1].joins(piece):
                pieces[-1].slots += piece.slots
                pieces[-1].copies += piece.copies
            else:
                pieces.append(piece)
        made, first = [], 0
        for piece in pieces:
            end = first + piece.count * len(piece.slots)
            copied = self._places(piece.copies) if piece.copies else None
            made.append(StateGroup(slice(first, end), self._places(piece.slots), copied))
            first = end
        return made

    def rows(self, layer: int, groups: Sequence[StateGroup]) -> Iterator[StateRows]:
        """What one layer keeps of the texts of a pass, group by group."""
        tensors = self.layers[layer]
        for group in groups:
            before = tuple(tensor[group.places] for tensor in tensors)
            keep = partial(_keep, tensors, group)
            yield StateRows(group.part, len(before[0]), before, keep)

    def _places(self, slots: Sequence[int]) -> slice | Tensor:
        """A slice for one text, whose state is then read where it is."""
        if len(slots) == 1:
            return slice(slots[0], slots[0] + 1)
        return torch.tensor(slots, device=self._tensors[0].device)


def _pieces(spans: Sequence[Span], slots: Sequence[int], copies: Sequence[int]) -> Iterator[_Piece]:
    first = 0
    for span, slot in zip(spans, slots, strict=True):
        start, end = first, first + span.count
        for row in range(first, end) if copies else ():
            if copies[row] >= 0 and row < end - 1:
                yield _Piece(row + 1 - start, [slot], [copies[row]])
                start = row + 1
        last = [copies[end - 1]] if copies and copies[end - 1] >= 0 else []
        yield _Piece(end - start, [slot], last)
        first = end


def _keep(tensors: Sequence[Tensor], group: StateGroup, after: Sequence[Tensor]) -> None:
    for tensor, fresh in zip(tensors, after, strict=True):
        tensor[group.places] = fresh.to(tensor.dtype)
        if group.copies is not None:
            tensor[group.copies] = tensor[group.places]
