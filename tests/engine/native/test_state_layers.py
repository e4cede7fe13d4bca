"""Layers of state, packed: the same layer told in two ways, and what stays float32."""

from dataclasses import replace

import pytest
import torch

from llmkit.engine.module_weights import ModuleWeights
from llmkit.engine.native.matrices import Matrices
from llmkit.engine.native.state_layers import state_weights
from llmkit.kernels.forward_states import StateWeights
from llmkit.kernels.library import available
from llmkit.kernels.packed import PackedFormat
from llmkit.model.transformer import Transformer
from tests.model.recurrent.conftest import DELTA, hybrid, no_family

pytestmark = pytest.mark.skipif(not available(), reason="no native library")
LAYER = "model.layers.0.linear_attn"


def packed(model: Transformer, packed_format: PackedFormat = PackedFormat.FLOAT32) -> StateWeights:
    return state_weights(model.config, LAYER, Matrices(ModuleWeights(model), packed_format))


def test_inputs_that_stand_by_head_are_packed_as_those_that_stand_apart() -> None:
    apart = hybrid("qwen3_5_text")
    together = no_family("qwen3_5_text", delta=replace(DELTA, inputs_by_head=True))
    theirs, ours = apart.state_dict(), together.state_dict()
    G, X, Y = DELTA.num_key_heads, DELTA.key_head_dim, DELTA.value_head_dim
    qkv, z, b, a = (theirs[f"{LAYER}.in_proj_{one}.weight"] for one in ("qkv", "z", "b", "a"))
    q, k, v = (one.unflatten(0, (G, -1)) for one in qkv.split((G * X, G * X, DELTA.num_value_heads * Y)))
    by_head = torch.cat((q, k, v, z.unflatten(0, (G, -1))), 1).flatten(0, 1)
    with torch.no_grad():
        ours[f"{LAYER}.in_proj_qkvz.weight"].copy_(by_head)
        ours[f"{LAYER}.in_proj_ba.weight"].copy_(
            torch.cat((b.unflatten(0, (G, -1)), a.unflatten(0, (G, -1))), 1).flatten(0, 1)
        )
    first, second = packed(apart), packed(together)
    for name in ("inputs", "gate", "rates"):
        assert (getattr(first, name).data == getattr(second, name).data).all()


def test_rates_stay_float32_where_others_are_rounded() -> None:
    found = packed(hybrid("qwen3_5_text"), PackedFormat.INT4)
    assert found.rates is not None and found.rates.packed_format is PackedFormat.FLOAT32
    assert found.inputs.packed_format is PackedFormat.INT4


def test_nothing_is_added_to_the_norm_of_what_is_read() -> None:
    model = hybrid("qwen3_5_text")
    assert model.config.norm_plus_one
    norm = model.state_dict()[f"{LAYER}.norm.weight"].numpy()
    found = packed(model).norm
    assert found is not None and (found == norm).all()
