"""Layers that keep a state of each text, for the library; and where the states are.

Shapes: D hidden, C channels of a convolution, N positions that it spans, G key heads of X numbers,
W value heads of Y numbers. Vectors are float32.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmkit.kernels.forward_structs import Activation
from llmkit.kernels.memory import Floats
from llmkit.kernels.packed import PackedWeight

LANES = 16
"""Of the kernels' vectors: a state's parts are whole ones."""


@dataclass(frozen=True, kw_only=True)
class StateSizes:
    """Numbers of a layer of state."""

    channels: int
    kernel: int
    key_heads: int = 0
    value_heads: int = 0
    """Of the gated delta rule, or of Mamba-2, whose groups are key heads; 0: a short convolution alone."""
    key_dim: int = 0
    value_dim: int = 0
    activation: Activation = Activation.SILU
    """Behind the convolution, where there are heads."""
    least_step: float = 0.0
    most_step: float = math.inf
    """Of Mamba-2."""

    @property
    def floats(self) -> int:
        """Of one text: (N - 1, C), then matrices (W, ceil(Y / 16), X, 16), each from a whole 16 on."""
        convolved = -(-(self.kernel - 1) * self.channels // LANES) * LANES
        return convolved + self.value_heads * -(-self.value_dim // LANES) * self.key_dim * LANES


@dataclass(frozen=True, kw_only=True)
class StateWeights:
    """What a layer has in place of queries, keys and values, its last product being the layer's `o`; or
    beside them, with an `out` of its own."""

    sizes: StateSizes
    inputs: PackedWeight
    """(3C, D): two gates' rows, then x's; or of the rule (C, D): queries', keys' and values'; or of Mamba-2
    (W Y + C + W, D): gates', then values', keys' and queries', then steps'."""
    inputs_bias: Floats | None = None
    taps: Floats
    """(N, C), the earliest position's first."""
    taps_bias: Floats | None = None
    gate: PackedWeight | None = None
    """(W Y, D) of what the rule reads."""
    rates: PackedWeight | None = None
    """(2W, D): the rates' rows, then the decays'."""
    slopes: Floats | None = None
    """(W), none positive: a decay is exp(slope * softplus(product + step))."""
    steps: Floats | None = None
    """(W)."""
    norm: Floats | None = None
    """(Y) of what the rule reads, before its gate; (W Y) of what Mamba-2 reads, behind its gate, or None."""
    skips: Floats | None = None
    """(W) of Mamba-2, what a value counts for by itself; None: the layer is another."""
    scales: Floats | None = None
    """(rows of inputs) what products are multiplied with; None: they are not."""
    out: PackedWeight | None = None
    """(D, W Y), where the layer attends as well."""
    out_bias: Floats | None = None
    out_scale: float = 1.0
    """What the state's branch is multiplied with there."""

    @property
    def matrices(self) -> list[PackedWeight | None]:
        """Every packed weight that it may have."""
        return [self.inputs, self.gate, self.rates, self.out]


class KeptStates:
    """The states of all texts, slot by slot."""

    def __init__(self, addresses: Sequence[int], stride: int) -> None:
        """
        Args:
            addresses: for each layer of its state in slot 0; 0 for one that keeps none.
            stride: floats from slot to slot.
        """
        self._addresses = np.array(addresses, np.uintp)
        self.address, self.stride = self._addresses.ctypes.data, stride
