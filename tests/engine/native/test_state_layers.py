"""Layers of state, packed: the same layer told in two ways, and what stays float32."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from coded_models import coded_gguf
from gguf_models import case_config, random_model

from llmkit.engine.module_weights import ModuleWeights
from llmkit.engine.native.matrices import Matrices
from llmkit.engine.native.state_layers import state_weights
from llmkit.kernels.coded_gguf import GROUPINGS
from llmkit.kernels.forward_states import StateWeights
from llmkit.kernels.library import available
from llmkit.kernels.packed import PackedFormat
from llmkit.model.quantised.coded_weights import CodedWeights
from llmkit.model.stored_weights import StoredWeights
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


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("qwen3_5_text", {}),
        (
            "qwen3_next",
            {
                **{"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
                "shared_expert_intermediate_size": 64,
            },
        ),
    ],
)
def test_matrices_of_a_gguf_file_are_packed_as_the_codes_that_it_has(
    family: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    delta = {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
    delta |= dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 128)
    model = random_model(case_config(family, {"hidden_size": 256, "head_dim": 64, **delta, **changes}))
    path = coded_gguf(
        tmp_path / "a.gguf", model, {"attn_qkv": "Q5_K", "attn_gate": "Q4_K", "ssm_out": "Q6_K"}
    )
    matrices = Matrices(StoredWeights(path, dtype="float32", coded=CodedWeights()), PackedFormat.FLOAT32)
    found = state_weights(model.config, LAYER, matrices)
    assert found.gate is not None
    assert (found.inputs.packed_format, found.gate.packed_format) == (GROUPINGS["Q5_K"], GROUPINGS["Q4_K"])
    out = matrices.pack(f"{LAYER}.out_proj.weight").packed_format
    if family == "qwen3_5_text":  # of 256 columns with one factor, a value head has 128
        assert out == replace(GROUPINGS["Q6_K"], span=128)
    else:
        assert out == GROUPINGS["Q6_K"]


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
