"""Adapters of a pass, and how the library is told of them.

Shapes: r rank.
"""

from collections.abc import Sequence
from ctypes import addressof
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.forward_structs import LowRankStruct
from llmkit.kernels.forward_weights import address_of
from llmkit.kernels.memory import Floats

ADDITIONS = (
    *("q", "k", "v", "o", "gate", "up", "down", "attention_gate", "state_in", "state_out"),
    *("own_gate", "own_out"),
)
"""The products of a layer that an adapter may add to, in the order of native/forward.h, which says what they
are in layers of state."""


@dataclass(frozen=True)
class LowRankWeights:
    """What is added to one product: y becomes factors * W x + b^T (a x) + bias."""

    a: Floats
    """(r, inputs)."""
    b: Floats
    """(r, outputs), the scale counted in."""
    factors: Floats | None = None
    """(outputs) of DoRA; None: ones."""


class AdapterStructs:
    """An adapter as the library reads it; holds all that its addresses point to."""

    def __init__(self, layers: Sequence[Sequence[LowRankWeights | None]]) -> None:
        """layers: of each layer what is added to each of ADDITIONS."""
        self._kept = [tuple(layer) for layer in layers]
        ones = [one for layer in self._kept for one in layer]
        assert len(ones) == len(ADDITIONS) * len(self._kept)
        self._structs = (LowRankStruct * len(ones))(*map(_struct, ones))
        self.address = addressof(self._structs)
        self.most_rank = max((len(one.a) for one in ones if one is not None), default=0)
        self.has_factors = any(one is not None and one.factors is not None for one in ones)


class AdapterTable:
    """The adapters of a pass's texts; holds what their address points to."""

    def __init__(self, adapters: Sequence[AdapterStructs | None]) -> None:
        used = [one for one in adapters if one is not None]
        most_rank = max((one.most_rank for one in used), default=0)
        has_factors = any(one.has_factors for one in used)
        self._addresses: NDArray[np.uintp] = np.array(
            [0 if one is None else one.address for one in adapters], np.uintp
        )
        self.fields = most_rank, has_factors, self._addresses.ctypes.data if most_rank else None
        """The last ones of Pass in native/forward.h."""


def _struct(one: LowRankWeights | None) -> LowRankStruct:
    if one is None:
        return LowRankStruct()
    return LowRankStruct(address_of(one.a), address_of(one.b), address_of(one.factors), len(one.a))
