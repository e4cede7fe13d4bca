"""Names and shapes of every family's tensors, against the model that transformers builds without memory."""

from collections import Counter
from math import prod
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from llmkit.estimate.architecture import Architecture
from llmkit.estimate.read_architecture import FAMILIES, read_architecture

SIZES = {
    **{"vocab_size": 50, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 6},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 64},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}
EXPERTS = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 5}
LOCAL = {"num_local_experts": 3, "num_experts_per_tok": 2}
SHARED = {**EXPERTS, "shared_expert_intermediate_size": 7, "mlp_only_layers": [1], "decoder_sparse_step": 2}
LATENT = {
    **{"kv_lora_rank": 9, "qk_nope_head_dim": 4, "qk_rope_head_dim": 2, "v_head_dim": 5},
    **{"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 5},
}
ROUTED = {"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 5}
SLIDING = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2}
BIAS = {"attention_bias": True}
DELTA = {
    **{"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 3},
    **{"linear_value_head_dim": 5, "linear_conv_kernel_dim": 3},
}
CONV = {"layer_types": ["conv", "full_attention", *["conv"] * 4], "conv_L_cache": 4}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {**BIAS, "mlp_bias": True, "tie_word_embeddings": True}),
    ("llama", {"head_dim": None, "num_key_value_heads": None}),
    ("mistral", {}),
    ("mistral", {"sliding_window": None}),
    ("qwen2", {"head_dim": 8}),
    ("qwen2", SLIDING),
    ("qwen3", {**BIAS, **SLIDING}),
    ("gpt2", {"n_inner": 20}),
    ("gpt2", {"tie_word_embeddings": False}),
    ("mixtral", LOCAL),
    ("qwen2_moe", {**SHARED, **SLIDING}),
    ("qwen2_moe", {**EXPERTS, "shared_expert_intermediate_size": 7, "qkv_bias": False}),
    ("qwen3_moe", {**EXPERTS, **BIAS, "mlp_only_layers": [0, 3]}),
    ("olmoe", {"num_experts": 3, "num_experts_per_tok": 2}),
    ("gemma", BIAS),
    ("gemma2", {}),
    ("gemma3_text", {"sliding_window_pattern": 3}),
    ("deepseek_v2", {**LATENT, "q_lora_rank": None, "first_k_dense_replace": 1, "n_shared_experts": 2}),
    ("deepseek_v2", {**LATENT, **BIAS, "q_lora_rank": 8, "first_k_dense_replace": 0}),
    ("deepseek_v3", {**LATENT, **BIAS, "q_lora_rank": 8, "n_shared_experts": 1}),
    ("dots1", {**ROUTED, "n_shared_experts": 2, "first_k_dense_replace": 1}),
    ("glm4_moe", {**ROUTED, **BIAS, "n_shared_experts": 1, "use_qk_norm": True}),
    ("gpt_oss", LOCAL),
    ("gpt_oss", {**LOCAL, "attention_bias": False}),
    (
        "qwen3_next",
        {
            **{**DELTA, **SHARED, **BIAS},
        },
    ),
    ("qwen3_5_text", {**DELTA, **BIAS}),
    ("qwen3_5_moe_text", {**DELTA, **EXPERTS, "shared_expert_intermediate_size": 7}),
    ("lfm2", {**CONV, "head_dim": 8, "conv_bias": True, "block_multiple_of": 8, "tie_word_embeddings": True}),
    ("lfm2_moe", {**CONV, **EXPERTS, "head_dim": 8, "num_dense_layers": 2, "tie_word_embeddings": False}),
    ("phi3", {"sliding_window": 16}),
    ("phi", {"head_dim": 8, "qk_layernorm": True}),
    ("gpt_neox", {}),
    ("gpt_neox", {"attention_bias": False, "tie_word_embeddings": True}),
    ("stablelm", {"use_qkv_bias": True, "qk_layernorm": True}),
    ("stablelm", {"use_parallel_residual": True}),
    ("olmo", BIAS),
    ("olmo2", {}),
    ("olmo3", BIAS),
    ("smollm3", {**BIAS, "mlp_bias": True}),
    ("smollm3", {"use_sliding_window": True, "sliding_window": 16, "no_rope_layer_interval": 2}),
    ("granite", {**BIAS, "mlp_bias": True}),
    ("cohere", {"use_qk_norm": True}),
    ("cohere2", BIAS),
    ("starcoder2", {"sliding_window": 16}),
    ("starcoder2", {"use_bias": False, "tie_word_embeddings": False}),
    ("arcee", {**BIAS, "mlp_bias": True}),
    ("apertus", BIAS),
    ("apertus", {"hidden_act": "silu"}),
    ("seed_oss", {"attention_out_bias": True, "mlp_bias": True}),
    ("helium", {**BIAS, "mlp_bias": True, "head_dim": 8}),
    ("ernie4_5", {"use_bias": True}),
    ("glm", {}),
    ("glm4", {"attention_bias": False}),
    ("exaone4", {"sliding_window": 16}),
    ("exaone4", {"sliding_window": None, "layer_types": ["full_attention"] * 6}),
    ("nemotron", {**BIAS, "mlp_bias": True}),
    ("ministral3", {}),
    ("hunyuan_v1_moe", {"num_experts": 3, "moe_topk": 2, "head_dim": 8}),
    ("hunyuan_v1_moe", {**BIAS, "num_experts": 4, "moe_topk": [2] * 6}),
    ("hunyuan_v1_dense", {**BIAS, "head_dim": 8}),
    (
        "granitemoehybrid",
        {
            **{"layer_types": ["full_attention"] * 6, "num_local_experts": 0, "shared_intermediate_size": 9},
            **{"mamba_n_heads": 8, "mamba_d_head": 8, **BIAS, "head_dim": 8},
        },
    ),
    ("glm4_moe_lite", {**ROUTED, "mlp_layer_types": ["dense", *["sparse"] * 4, "dense"]}),
    ("glm4_moe_lite", {**LATENT, **BIAS, "q_lora_rank": None}),
    ("ernie4_5_moe", {"moe_num_experts": 8, "moe_k": 2, "moe_intermediate_size": 5, "head_dim": 8}),
    ("ernie4_5_moe", {"moe_layer_interval": 2, "moe_layer_start_index": 2, "moe_num_shared_experts": 0}),
    ("minimax_m2", LOCAL),
    ("granitemoe", {**LOCAL, **BIAS, "head_dim": 8}),
    ("falcon", {}),
    ("falcon", {"bias": True, "multi_query": False, "parallel_attn": False, "ffn_hidden_size": 20}),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1}),
    (
        "gemma3n_text",
        {
            **{"vocab_size_per_layer_input": 20, "hidden_size_per_layer_input": 3, "num_kv_shared_layers": 1},
            **{"intermediate_size": [40, 41, 42, 43, 44, 45], "altup_num_inputs": 3, "laurel_rank": 2},
        },
    ),
    ("gemma3n_text", {"altup_correct_scale": False, "num_kv_shared_layers": 0, "altup_num_inputs": 1}),
    (
        "gemma4_text",
        {
            **{"num_hidden_layers": 12, "num_kv_shared_layers": 6, "use_double_wide_mlp": True},
            **{"vocab_size_per_layer_input": 20, "hidden_size_per_layer_input": 3, "sliding_window": 16},
        },
    ),
    (
        "gemma4_text",
        {
            **{"attention_k_eq_v": True, "num_global_key_value_heads": 1, "global_head_dim": 10},
            "hidden_size_per_layer_input": 0,
        },
    ),
    (
        "gemma4_text",
        {
            **{**BIAS, "enable_moe_block": True, "num_experts": 8, "top_k_experts": 3, "global_head_dim": 8},
            **{"moe_intermediate_size": 5, "tie_word_embeddings": False, "hidden_size_per_layer_input": 0},
            "use_bidirectional_attention": "vision",
        },
    ),
    ("bamba", {"attn_layer_indices": [1], "mamba_n_heads": 4, "mamba_d_state": 3, "mamba_n_groups": 2}),
    (
        "bamba",
        {**BIAS, "mlp_bias": True, "mamba_n_heads": 4, "mamba_conv_bias": False, "mamba_proj_bias": True},
    ),
    ("falcon_h1", {"mamba_d_ssm": 24, "mamba_n_heads": 4, "mamba_d_state": 3, "mamba_n_groups": 2}),
    (
        "falcon_h1",
        {
            **{"mamba_d_ssm": 16, "mamba_n_heads": 4, "mamba_rms_norm": True},
            **{"mamba_norm_before_gate": False, "mamba_conv_bias": False},
        },
    ),
    ("mamba", {"state_size": 3, "conv_kernel": 3, "time_step_rank": 4}),
    ("mamba", {"expand": 3, "use_bias": True, "use_conv_bias": False, "tie_word_embeddings": False}),
    ("mamba2", {"num_heads": 8, "head_dim": 8, "state_size": 3, "n_groups": 2, "conv_kernel": 3}),
    (
        "nemotron_h",
        {
            **{"layers_block_type": ["mamba", "mlp", "attention", "mlp", "mamba"], "mamba_num_heads": 4},
            **{"mamba_head_dim": 6, "ssm_state_size": 3, "n_groups": 2, "use_bias": True, "mlp_bias": True},
        },
    ),
    (
        "nemotron_h",
        {
            **{"layers_block_type": ["mamba", "moe", "attention", "mlp"], "n_routed_experts": 8},
            **{"moe_intermediate_size": 5, "moe_shared_expert_intermediate_size": 7, "mlp_bias": True},
        },
    ),
    ("llama4_text", {**LOCAL, "intermediate_size_mlp": 11, "interleave_moe_layer_step": 2}),
    ("llama4_text", {**LOCAL, **BIAS, "attention_chunk_size": None, "intermediate_size_mlp": 11}),
]
RENAMED = {
    **{"block_sparse_moe.": "mlp.", "embed_out.": "lm_head.", "mlp.router.layer.": "mlp.router."},
}
"""Names of published files, and those that transformers 5 gives them in memory."""
KINDS = {
    **{"full": "full_attention", "sliding": "sliding_attention", "chunked": "chunked_attention"},
    "state": "linear_attention",
}


def expanded(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Every tensor but those of routed experts, by the name it has in memory."""
    found = {}
    for tensor in architecture.tensors:
        name = tensor.name
        for stored, loaded in RENAMED.items():
            name = name.replace(stored, loaded)
        if tensor.part != "experts" and tensor.learnt:
            for number in range(tensor.copies):
                found[name.replace("*", str(number))] = tensor.shape
    return found


@pytest.mark.parametrize(("family", "changes"), CASES, ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)])
def test_a_family_has_the_tensors_that_transformers_builds(family: str, changes: dict[str, Any]) -> None:
    known = CONFIG_MAPPING[family]()
    known.allow_global_per_layer_attribute_access = True  # of Gemma 4, whose layers' heads differ
    asked = {name: value for name, value in SIZES.items() if hasattr(known, name)} | changes
    if family == "falcon":
        del asked["head_dim"]  # a property there
    config = CONFIG_MAPPING[family](**asked)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    built = {
        (name.replace("model.", "backbone.", 1) if family == "nemotron_h" else name).replace(
            "block_sparse_moe.", "mlp."
        ): tuple(parameter.shape)
        for name, parameter in model.named_parameters()
        if not name.endswith("e_score_correction_bias")  # a buffer, but for ERNIE's class; not counted
    }
    routed: Counter[int] = Counter()
    for name in [name for name in built if ".experts." in name]:
        routed[int(name.split(".")[2])] += prod(built.pop(name))

    written = config.to_dict()
    found = read_architecture(written)
    assert expanded(found) == built
    assert found.by_part.get("experts", 0) == sum(routed.values())
    for tensor in found.tensors:
        if tensor.part == "experts" and tensor.layer is not None:
            routed[tensor.layer] -= tensor.numel
    assert not any(routed.values())
    assert read_architecture(config.to_diff_dict() | {"model_type": family}) == found
    if family in ("bamba", "falcon_h1", "granitemoehybrid", "lfm2", "lfm2_moe", "nemotron_h"):
        return  # which layers keep a state has to be said
    # older files do not say what each layer is
    assert (
        read_architecture({k: v for k, v in written.items() if k not in ("layer_types", "moe_layers")})
        == found
    )
    if kinds := getattr(config, "layer_types", None):
        own = [KINDS.get(cache.kind, kind) for cache, kind in zip(found.caches, kinds, strict=True)]
        assert own == list(kinds)


def test_every_family_is_compared() -> None:
    assert {family for family, _ in CASES} == set(FAMILIES)
