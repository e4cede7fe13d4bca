"""A whole model of the llama family in one call of the native library: layers, then the scores asked for.

Shapes: N new positions of all texts, D hidden, H heads, K kv_heads, E head_dim, R rotary_dim, F intermediate,
V vocabulary, W scored positions.
"""

from collections.abc import Sequence
from ctypes import Structure, addressof, byref, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmkit.kernels.elementwise import Activation
from llmkit.kernels.library import WeightStruct, finished, library
from llmkit.kernels.memory import Floats, ValueType
from llmkit.kernels.packed import PackedWeight

_VECTORS = ("input_norm", "mlp_norm", "q_norm", "k_norm")
_WEIGHTS = ("q", "k", "v", "o", "gate_up", "down")


class LayerStruct(Structure):
    """Layer of native/forward.h."""

    _fields_ = [
        *((name, c_void_p) for name in _VECTORS),
        *((name, WeightStruct) for name in _WEIGHTS),
        *((f"{name}_bias", c_void_p) for name in _WEIGHTS),
    ]


class ModelStruct(Structure):
    """Model of native/forward.h."""

    _fields_ = [
        ("layers", c_void_p),
        ("last_norm", c_void_p),
        ("head", WeightStruct),
        *(
            (name, c_int32)
            for name in ("num_layers", "hidden", "heads", "kv_heads", "head_dim", "rotary_dim")
        ),
        *((name, c_int32) for name in ("intermediate", "vocabulary", "activation")),
        ("epsilon", c_float),
        ("scale", c_float),
    ]


class PassStruct(Structure):
    """Pass of native/forward.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("x", "positions", "places", "cosine", "sine", "keys", "values")),
        *((name, c_void_p) for name in ("block_table", "query_start", "lengths", "wanted", "logits")),
        ("table_stride", c_int64),
        *((name, c_int32) for name in ("tokens", "texts", "num_wanted", "kv_type", "block_size")),
    ]


@dataclass(frozen=True)
class LayerWeights:
    """One layer: norms before each branch, grouped queries, a gated MLP. Vectors are float32."""

    input_norm: Floats
    mlp_norm: Floats
    q: PackedWeight
    k: PackedWeight
    v: PackedWeight
    o: PackedWeight
    gate_up: PackedWeight
    """The gate's rows, then up's."""
    down: PackedWeight
    q_norm: Floats | None = None
    k_norm: Floats | None = None
    biases: tuple[Floats | None, ...] = (None,) * 6
    """Of q, k, v, o, gate_up and down."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of a model."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    rotary_dim: int
    intermediate: int
    vocabulary: int
    activation: Activation
    epsilon: float
    scale: float


@dataclass(frozen=True)
class KeptMemory:
    """Keys and values of all texts: for each layer the address of (positions, K, E)."""

    keys: tuple[int, ...]
    values: tuple[int, ...]
    value_type: ValueType
    """FLOAT32 or BFLOAT16."""
    block_size: int


class NativeModel:
    """Packed weights, and the call that runs them. Holds everything that the library reads."""

    def __init__(
        self, sizes: Sizes, layers: Sequence[LayerWeights], last_norm: Floats, head: PackedWeight
    ) -> None:
        self.sizes = sizes
        self._kept = (tuple(layers), last_norm, head)
        self._layers = (LayerStruct * len(layers))(*(_layer_struct(layer) for layer in layers))
        self._struct = ModelStruct(
            layers=addressof(self._layers),
            last_norm=last_norm.ctypes.data,
            head=head.struct,
            num_layers=len(layers),
            hidden=sizes.hidden,
            heads=sizes.heads,
            kv_heads=sizes.kv_heads,
            head_dim=sizes.head_dim,
            rotary_dim=sizes.rotary_dim,
            intermediate=sizes.intermediate,
            vocabulary=sizes.vocabulary,
            activation=sizes.activation,
            epsilon=sizes.epsilon,
            scale=sizes.scale,
        )

    @property
    def nbytes(self) -> int:
        """Bytes of packed weights."""
        layers, _, head = self._kept
        return head.data.nbytes + sum(
            getattr(layer, name).data.nbytes for layer in layers for name in _WEIGHTS
        )

    def forward(
        self,
        x: Floats,
        positions: NDArray[np.int32],
        places: NDArray[np.int64],
        angles: tuple[Floats, Floats],
        memory: KeptMemory,
        block_table: NDArray[np.int32],
        query_start: NDArray[np.int32],
        lengths: NDArray[np.int32],
        wanted: NDArray[np.int32],
        *,
        wide: bool = True,
    ) -> Floats:
        """Compute new positions, keep their keys and values, and score the wanted ones.

        Args:
            x: (N, D) embeddings; overwritten.
            positions: (N) in their texts.
            places: (N) rows of memory that their keys and values go to.
            angles: cosines and sines, each (more than any position, R / 2).
            memory: where keys and values are.
            block_table: (texts, blocks) of each text.
            query_start: (texts + 1) where each text's new positions begin in x.
            lengths: (texts) positions of each, the new ones included.
            wanted: (W) rows of x.
            wide: use every thread; a tiny model is quicker on one.

        Returns:
            (W, V).

        Raises:
            MemoryError: no memory for intermediate values.
        """
        logits = np.empty((len(wanted), self.sizes.vocabulary), np.float32)
        keys, values = (np.array(one, np.uintp) for one in (memory.keys, memory.values))
        cosine, sine = angles
        arrays = (
            x,
            positions,
            places,
            cosine,
            sine,
            keys,
            values,
            block_table,
            query_start,
            lengths,
            wanted,
            logits,
        )
        assert all(one.flags.c_contiguous for one in arrays)
        step = PassStruct(
            *(one.ctypes.data for one in arrays),
            table_stride=block_table.shape[1],
            tokens=len(x),
            texts=len(lengths),
            num_wanted=len(wanted),
            kv_type=memory.value_type,
            block_size=memory.block_size,
        )
        finished(library().llmkit_forward(byref(self._struct), byref(step), wide))
        return logits


def _layer_struct(layer: LayerWeights) -> LayerStruct:
    vectors = (getattr(layer, name) for name in _VECTORS)
    return LayerStruct(
        *(None if one is None else one.ctypes.data for one in vectors),
        *(getattr(layer, name).struct for name in _WEIGHTS),
        *(None if one is None else one.ctypes.data for one in layer.biases),
    )
