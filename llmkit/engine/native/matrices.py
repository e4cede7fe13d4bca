"""A model's matrices packed for the kernels, by their names.

Weights are kept as they are (float32, bfloat16, or the codes of a quantised file) or rounded to 8 or 4 bits
in groups of 32, as GGUF's Q8_0 and Q4_0. No torch: a process that only writes need not wait for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.native.vectors import Vectors, half_by_half
from llmkit.kernels.coded import CodedMatrix, Order, common, stacked
from llmkit.kernels.grouped import pack_coded
from llmkit.kernels.packed import PackedFormat, PackedWeight, pack, pack_below
from llmkit.model.config import ModelConfig
from llmkit.model.quantised.coded_weights import Source
from llmkit.model.stored_numbers import as_dtype


class Weights(Protocol):
    """A model's weights by their names.

    Attributes:
        config: of the model.
        dtype: of its weights, but for those that stay float32.
        codes: those that stay the codes they are stored as: one matrix, or each expert's of a stack.
    """

    config: ModelConfig
    dtype: str
    codes: Mapping[str, list[Source]]

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of all of them."""

    def take(self, name: str) -> NDArray[Any]:
        """One that is numbers; bfloat16 is uint16. It is asked for once."""

    def forget(self, rows: NDArray[Any]) -> None:
        """Rows of one that was taken are packed: pages of theirs are needed no more."""

    def give_up(self, name: str) -> None:
        """It is packed, all of it."""


class Matrices:
    """Packs them one after the other.

    Attributes:
        vectors: the model's other tensors.
    """

    def __init__(self, weights: Weights, packed_format: PackedFormat) -> None:
        self.weights = weights
        self.config = weights.config
        self._format = packed_format
        self.vectors = Vectors(weights.config, weights.shapes, weights.take)

    def pack(
        self,
        name: str,
        taken: NDArray[Any] | None = None,
        *,
        turned: bool = False,
        head_dim: int | None = None,
    ) -> PackedWeight:
        """A matrix (out, in), where it was taken already that; turned: its rows `half_by_half`."""
        if name in self.weights.codes:
            matrix = self._matrices(name)[0]
            if turned and self.config.rope_interleaved:
                rows = np.arange(matrix.num_rows)
                matrix = matrix.ordered(half_by_half(self.config, rows, head_dim=head_dim))
            return pack_coded(matrix)
        rows = self.weights.take(name) if taken is None else taken
        packed = pack_below(
            [half_by_half(self.config, rows, head_dim=head_dim) if turned else rows],
            self._format,
            self.weights.forget,
        )
        if taken is None:
            self.give_up(name)
        return packed

    def shared_out(self, name: str, orders: Sequence[Order]) -> list[PackedWeight]:
        """A matrix as several, each of some of its rows."""
        if name in self.weights.codes:
            matrix = self._matrices(name)[0]
            return [pack_coded(matrix.ordered(order)) for order in orders]
        rows = self.weights.take(name)
        packed = [pack(rows[order], self._format) for order in orders]
        self.give_up(name)
        return packed

    def joined(self, names: Sequence[str]) -> PackedWeight:
        """Matrices below each other; where no one kind of codes holds them all, all become numbers."""
        if all(name in self.weights.codes for name in names):
            joined = stacked([self._matrices(name)[0] for name in names])
            if joined is not None:
                return pack_coded(joined)
        packed = pack_below([self.plain(name) for name in names], self._format, self.weights.forget)
        for name in names:
            self.give_up(name)
        return packed

    def plain(self, name: str) -> NDArray[Any]:
        """The numbers of a matrix, whatever it is kept as; bfloat16 is uint16."""
        if name not in self.weights.codes:
            return self.weights.take(name)
        matrix = self._matrices(name)[0]
        values = matrix.read(np.arange(matrix.num_rows)).values()
        return np.ascontiguousarray(as_dtype(values, self.weights.dtype))

    def stack(self, name: str) -> tuple[PackedWeight, ...]:
        """Each expert's matrix; rows of all are prepared alike, so that they are kept alike."""
        if name in self.weights.codes:
            return tuple(pack_coded(one) for one in common(self._matrices(name)))
        taken = self.weights.take(name)
        packed = tuple(pack_below([one], self._format, self.weights.forget) for one in taken)
        self.give_up(name)
        return packed

    def give_up(self, name: str) -> None:
        """A tensor is packed, all of it."""
        self.weights.give_up(name)

    def _matrices(self, name: str) -> list[CodedMatrix]:
        return [source() for source in self.weights.codes[name]]
