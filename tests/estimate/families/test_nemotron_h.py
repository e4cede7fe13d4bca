"""Nemotron-H's layers: Mamba-2, attention, or an MLP, behind one norm each."""

from typing import Any

from llmkit.estimate.families.nemotron_h import read_nemotron_h
from llmkit.model.keys import Keys

FILE: dict[str, Any] = {
    **{"vocab_size": 50, "hidden_size": 8, "intermediate_size": 20, "num_attention_heads": 4, "head_dim": 2},
    **{"num_key_value_heads": 2, "hybrid_override_pattern": "M-*", "mamba_num_heads": 4, "n_groups": 2},
    **{"mamba_head_dim": 6, "ssm_state_size": 3, "mlp_bias": True},
}


def test_each_layer_has_a_norm_and_one_branch() -> None:
    found = {tensor.name: tensor.shape for tensor in read_nemotron_h(Keys(FILE, "config.json"), "").tensors}
    assert found["backbone.layers.0.mixer.in_proj.weight"] == (24 + 24 + 2 * 2 * 3 + 4, 8)
    assert found["backbone.layers.0.mixer.out_proj.weight"] == (8, 24)
    second = {name: shape for name, shape in found.items() if name.startswith("backbone.layers.1.")}
    assert second == {
        "backbone.layers.1.norm.weight": (8,),
        "backbone.layers.1.mixer.up_proj.weight": (20, 8),
        "backbone.layers.1.mixer.up_proj.bias": (20,),
        "backbone.layers.1.mixer.down_proj.weight": (8, 20),
        "backbone.layers.1.mixer.down_proj.bias": (8,),
    }
    assert found["backbone.layers.2.mixer.k_proj.weight"] == (4, 8)
    assert found["lm_head.weight"] == (50, 8)


def test_experts_are_counted_one_by_one_and_without_gates() -> None:
    sparse = {
        **{"hybrid_override_pattern": "E-", "n_routed_experts": 4, "num_experts_per_tok": 3},
        **{"moe_intermediate_size": 7, "moe_shared_expert_intermediate_size": 9},
    }
    found = read_nemotron_h(Keys({**FILE, **sparse}, "config.json"), "")
    shapes = {tensor.name: (tensor.copies, *tensor.shape) for tensor in found.tensors if tensor.layer == 0}
    assert shapes == {
        "backbone.layers.0.norm.weight": (1, 8),
        "backbone.layers.0.mixer.gate.weight": (1, 4, 8),
        "backbone.layers.0.mixer.experts.*.up_proj.weight": (4, 7, 8),
        "backbone.layers.0.mixer.experts.*.down_proj.weight": (4, 8, 7),
        "backbone.layers.0.mixer.shared_experts.up_proj.weight": (1, 9, 8),
        "backbone.layers.0.mixer.shared_experts.up_proj.bias": (1, 9),
        "backbone.layers.0.mixer.shared_experts.down_proj.weight": (1, 8, 9),
        "backbone.layers.0.mixer.shared_experts.down_proj.bias": (1, 8),
    }
    assert found.mlp_width == 21  # of three experts, more than the 20 of the MLP


def test_an_mlp_keeps_nothing_of_a_text() -> None:
    state, full = read_nemotron_h(Keys(FILE, "config.json"), "").caches
    assert (state.kind, state.recurrent, state.conv) == ("state", 24 * 3, 36 * 3)
    assert (full.kind, full.kv_heads, full.key_dim) == ("full", 2, 2)
