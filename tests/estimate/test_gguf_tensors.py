"""Tensors of GGUF files: names, rows and what stays in float32."""

from collections import Counter

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.gguf_tensors import GgufTensor, gguf_tensors
from llmkit.estimate.read_architecture import read_architecture

DEEPSEEK = {
    **{"model_type": "deepseek_v3", "hidden_size": 256, "intermediate_size": 512, "q_lora_rank": 96},
    **{"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "kv_lora_rank": 64},
    **{"qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 48, "n_routed_experts": 8},
    **{"num_experts_per_tok": 2, "moe_intermediate_size": 128, "n_shared_experts": 2},
    **{"first_k_dense_replace": 1, "vocab_size": 1000, "n_group": 1, "topk_group": 1},
    "tie_word_embeddings": False,
}


def named(layer: int | None) -> dict[str, GgufTensor]:
    found = gguf_tensors(read_architecture(DEEPSEEK))
    return {tensor.name: tensor for tensor in found if tensor.layer == layer and tensor.quantised}


def test_no_number_is_lost() -> None:
    architecture = read_architecture(DEEPSEEK)
    assert sum(t.rows * t.columns for t in gguf_tensors(architecture)) == architecture.parameters


def test_kv_b_becomes_keys_with_rows_of_the_head_and_values_with_rows_of_the_latent() -> None:
    keys, values = named(1)["attn_k_b"], named(1)["attn_v_b"]
    assert (keys.rows, keys.columns, keys.stacked) == (4 * 64, 32, True)
    assert (values.rows, values.columns, values.stacked) == (4 * 48, 64, True)
    assert "attn_kv_b" not in named(1)


def test_names_are_those_of_llama_cpp_in_its_order() -> None:
    attention = ["attn_k_b", "attn_kv_a_mqa", "attn_output", "attn_q_a", "attn_q_b", "attn_v_b"]
    assert list(named(0)) == [*attention, "ffn_down", "ffn_gate", "ffn_up"]
    experts = [f"ffn_{name}_{kind}" for name in ("down", "gate", "up") for kind in ("exps", "shexp")]
    assert list(named(1)) == [*attention, *experts]
    assert list(named(None)) == ["output", "token_embd"]


def test_experts_are_one_tensor() -> None:
    tensor = named(1)["ffn_down_exps"]
    assert (tensor.rows, tensor.columns, tensor.stacked) == (8 * 256, 128, True)
    assert not named(1)["ffn_down_shexp"].stacked


@pytest.mark.parametrize(
    ("experts", "names"),
    [
        (0, {"ffn_up", "ffn_down"}),
        (4, {"ffn_up_shexp", "ffn_down_shexp", "ffn_up_exps", "ffn_down_exps"}),
    ],
)
def test_granites_shared_mlp_is_an_expert_beside_experts_and_else_the_mlp(
    experts: int, names: set[str]
) -> None:
    granite = {
        **{"model_type": "granitemoehybrid", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 100},
        **{"num_hidden_layers": 2, "num_attention_heads": 4, "layer_types": ["mamba", "attention"]},
        **{"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "num_local_experts": experts},
        **{"shared_intermediate_size": 80, "num_experts_per_tok": 2},
    }
    found = {one.name for one in gguf_tensors(read_architecture(granite)) if one.quantised}
    assert {name for name in found if name.startswith("ffn")} == names
    assert {"ssm_in", "ssm_out", "attn_q", "attn_output"} <= found


def test_norms_and_the_router_stay_in_float32() -> None:
    kept = Counter(t.part for t in gguf_tensors(read_architecture(DEEPSEEK)) if not t.quantised)
    assert kept == {"norms": 2 * 4 + 1, "router": 1}


def test_a_matrix_without_a_known_name_is_an_error() -> None:
    config = {
        **{"model_type": "gemma3n_text", "hidden_size": 64, "intermediate_size": 128, "vocab_size": 300},
        **{"num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16},
        **{"num_kv_shared_layers": 0, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 300},
        **{"laurel_rank": 4, "sliding_window": 16},
    }
    with pytest.raises(ConfigError, match=r"altup\.correction_coefs\.weight \(other\)"):
        list(gguf_tensors(read_architecture(config)))
