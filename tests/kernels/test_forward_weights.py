"""Layers as the library is told of them: what is there, and what is null."""

from typing import Any

import numpy as np
import pytest

from llmkit.kernels.forward_structs import Activation, ExpertsStruct, LayerStruct
from llmkit.kernels.forward_weights import (
    ExpertWeights,
    LayerStructs,
    LayerWeights,
    NormWeights,
    Scoring,
    address_of,
    norm_struct,
)
from llmkit.kernels.packed import PackedFormat, pack

pytestmark = pytest.mark.usefixtures("native")
ONES = np.ones(3, np.float32)


def packed(rows: int, cols: int) -> Any:
    return pack(np.ones((rows, cols), np.float32), PackedFormat.FLOAT32)


def test_a_layer_says_null_for_what_it_lacks_and_counts_every_matrix_it_has() -> None:
    attention = {"q": packed(6, 3), "k": packed(3, 3), "v": packed(3, 3), "o": packed(3, 6)}
    experts = ExpertWeights(
        router=packed(2, 3), gate_up=(packed(8, 3), packed(8, 3)), down=(packed(3, 4), packed(3, 4)),
        shared_gate_up=packed(10, 3), shared_down=packed(3, 5), per_token=1, scoring=Scoring.SIGMOID,
        normalised=True, scaling=2.0, activation=Activation.GELU,
    )  # fmt: skip
    layers = [
        LayerWeights(**attention, gate_up=packed(8, 3), down=packed(3, 4), q_norm=NormWeights(ONES, ONES)),
        LayerWeights(**attention, experts=experts, sinks=ONES, window=5, angles=-1, heads=(2, 6, 4), owner=0),
    ]
    assert [len(list(layer.matrices)) for layer in layers] == [6, 4 + 1 + 4 + 2]
    structs = LayerStructs(layers, (1, 3, 2))
    dense, sparse = (LayerStruct * 2).from_address(structs.address)
    assert dense.q_norm.weight == dense.q_norm.bias == ONES.ctypes.data
    assert (dense.experts, dense.sinks, dense.before_mlp.weight, dense.window) == (None, None, None, 0)
    assert (dense.gate_up.rows, dense.down.cols, sparse.gate_up.data) == (8, 4, None)
    assert (dense.kv_heads, dense.head_dim, dense.rotary_dim, dense.owner, dense.scalar) == (1, 3, 2, 0, 1.0)
    assert (sparse.kv_heads, sparse.head_dim, sparse.rotary_dim, sparse.owner) == (2, 6, 4, 0)
    assert (sparse.sinks, sparse.window, sparse.angles) == (ONES.ctypes.data, 5, -1)
    told = ExpertsStruct.from_address(sparse.experts)
    assert (told.num_experts, told.per_token, told.intermediate, told.shared_intermediate) == (2, 1, 4, 5)
    assert (told.scoring, told.normalised, told.activation, told.scaling) == (1, 1, 2, 2.0)
    assert (told.router.rows, told.shared_gate, told.selection_bias) == (2, 0, None)


def test_no_norm_is_null_and_a_vector_with_gaps_is_refused() -> None:
    assert (norm_struct(None).weight, norm_struct(NormWeights(ONES)).bias) == (None, None)
    with pytest.raises(AssertionError):
        address_of(np.ones(8, np.float32)[::2])
