"""Small models of every family that llama.cpp has, every weight at random."""

from typing import Any

import torch

from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer

SIZES: dict[str, Any] = {
    **{"vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256},
}
GPT2_SIZES = {"vocab_size": 96, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 256}
MHA, TIED, UNTIED = {"num_key_value_heads": 4}, {"tie_word_embeddings": True}, {"tie_word_embeddings": False}
BIAS, WINDOW, WIDE = {"attention_bias": True}, {"sliding_window": 16}, {"head_dim": 32}
LOCAL = {"num_local_experts": 8, "num_experts_per_tok": 2}
QWEN = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32}
SHARED = {**QWEN, "shared_expert_intermediate_size": 40}
ROUTED = {
    **{"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32},
    **{"first_k_dense_replace": 1, "n_shared_experts": 2},
}
LATENT = {
    **ROUTED,
    **{
        "kv_lora_rank": 32,
        "q_lora_rank": 24,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 12,
    },
}
ERNIE = {"moe_num_experts": 8, "moe_k": 3, "moe_intermediate_size": 32}
ALONE = {
    **{"layer_types": ["attention"] * 4, "num_local_experts": 0, "position_embedding_type": "rope"},
    "shared_intermediate_size": 96,
}
CONV = {"layer_types": ["conv", "full_attention", "conv", "conv"], "block_auto_adjust_ff_dim": False}
GRANITE_H = {
    **{"layer_types": ["mamba", "attention", "mamba", "mamba"], "num_local_experts": 0},
    **{"shared_intermediate_size": 96, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16},
    **{"embedding_multiplier": 3.0, "residual_multiplier": 0.5, "attention_multiplier": 0.2},
}
NEMOTRON_H = {
    **{"layers_block_type": ["mamba", "mlp", "attention", "mlp", "mamba"], "mamba_num_heads": 8},
    **{"mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 16, "head_dim": 16},
}
FALCON_H1 = {
    **{"mamba_d_ssm": 128, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 2},
    "rope_theta": 1e11,
}
NEMOTRON_3 = {
    **{**NEMOTRON_H, "layers_block_type": ["mamba", "moe", "attention", "moe", "mamba"]},
    **{"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32, "intermediate_size": 32},
    **{"moe_shared_expert_intermediate_size": 40, "routed_scaling_factor": 2.5},
}
GEMMA4 = {
    **{**WINDOW, "head_dim": 16, "global_head_dim": 32, "num_global_key_value_heads": 1},
    **{"hidden_size_per_layer_input": 0, "moe_intermediate_size": 32},
}
GEMMA4_SMALL = {
    **{**GEMMA4, "hidden_size_per_layer_input": 32, "vocab_size_per_layer_input": 96},
    **{"num_hidden_layers": 8, "num_kv_shared_layers": 2, "use_double_wide_mlp": True},
    "final_logit_softcapping": 4.0,
}
DELTA = {
    **{"head_dim": 32, "linear_num_key_heads": 2, "linear_num_value_heads": 6, "linear_key_head_dim": 16},
    "linear_value_head_dim": 16,
}
WIDE_THETA = {"rope_theta": 500_000.0}
GROUPS, ONE_GROUP = {"n_group": 4, "topk_group": 2}, {"n_group": 1, "topk_group": 1}


def rope(rope_type: str, **numbers: Any) -> dict[str, Any]:
    """rope_parameters of one type."""
    return {"rope_parameters": {"rope_type": rope_type, "rope_theta": 10_000.0, **numbers}}


YARN = rope("yarn", factor=4.0, original_max_position_embeddings=64)
LLAMA3 = rope(
    "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
)
LONG = {
    **rope("longrope", short_factor=[1.0 + n / 9 for n in range(8)], long_factor=[2.0 + n for n in range(8)]),
    **{"original_max_position_embeddings": 1000, "max_position_embeddings": 2000},
}
LATENT_YARN = {
    "rope_parameters": {
        **{"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "mscale": 0.7, "mscale_all_dim": 0.7},
        "original_max_position_embeddings": 64,
    }
}
QUERIES = {
    "rope_parameters": {
        **{"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 1.0},
        **{"original_max_position_embeddings": 16, "beta_fast": 32, "beta_slow": 1},
        "llama_4_scaling_beta": 0.5,
    },
}
GELU_TABLE = ("gpt2", "phi", "gpt_neox", "starcoder2", "gemma", "gemma2", "gemma3_text", "gemma4_text")
"""Families whose GELU llama.cpp looks up in a table of float16."""
CASES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {**MHA, **TIED, **BIAS, "mlp_bias": True}),
    ("llama", rope("linear", factor=4.0)),
    ("llama", {**YARN, **WIDE}),
    ("llama", LLAMA3),
    ("mistral", {"sliding_window": None}),
    ("ministral3", QUERIES),
    (
        "ministral3",
        {
            **{**MHA, **TIED},
            **rope("linear", factor=2.0, original_max_position_embeddings=7, llama_4_scaling_beta=0.5),
        },
    ),
    ("mixtral", LOCAL),
    ("qwen2", TIED),
    ("qwen3", {**WIDE, **YARN}),
    ("qwen2_moe", {**SHARED, **TIED}),
    ("qwen2_moe", {**SHARED, "qkv_bias": False}),
    ("qwen3_moe", {**QWEN, "norm_topk_prob": True}),
    ("olmoe", {"num_experts": 8, "num_experts_per_tok": 2, **MHA}),
    ("olmoe", {"num_experts": 8, "num_experts_per_tok": 2, **MHA, **TIED}),
    ("gemma", {}),
    ("gemma2", {**WINDOW, "head_dim": 16, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 5.0}),
    ("gemma3_text", {**WINDOW, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window_pattern": 2}),
    ("gemma4_text", {**GEMMA4, "attention_k_eq_v": True}),
    ("gemma4_text", GEMMA4_SMALL),
    ("gemma4_text", {**GEMMA4, "enable_moe_block": True, "num_experts": 8, "top_k_experts": 3}),
    ("phi3", {}),
    ("phi3", LONG),
    ("phi3", {"partial_rotary_factor": 0.75, "sliding_window": 200}),
    ("phi", {**MHA, "partial_rotary_factor": 0.25}),
    ("phi", {**MHA, **TIED}),
    ("olmo2", {}),
    ("olmo3", {**WINDOW, **MHA, **TIED}),
    ("smollm3", {}),
    ("granite", {"embedding_multiplier": 3.0, "logits_scaling": 2.0, "residual_multiplier": 0.5}),
    ("granite", {**BIAS, "mlp_bias": True, "attention_multiplier": 0.2}),
    ("gpt2", {}),
    ("gpt2", {**UNTIED, "n_inner": 100}),
    ("gpt2", {"position_embedding_type": "sinusoidal"}),
    ("gpt_neox", {}),
    ("gpt_neox", {"use_parallel_residual": False, "rotary_pct": 0.5, **TIED}),
    ("stablelm", {"use_qkv_bias": True}),
    ("stablelm", TIED),
    ("stablelm", {"use_parallel_residual": True, **MHA, "partial_rotary_factor": 0.5}),
    ("starcoder2", {}),
    ("cohere", {"logit_scale": 2.0}),
    ("deepseek_v2", {**LATENT, **LATENT_YARN}),
    ("deepseek_v3", {**LATENT, **GROUPS}),
    ("deepseek_v3", {**LATENT, **ONE_GROUP, **LATENT_YARN}),
    ("dots1", {**ROUTED, **MHA, **GROUPS, "norm_topk_prob": True}),
    ("dots1", {**ROUTED, **MHA, **TIED}),
    ("glm4_moe", {**ROUTED, **BIAS, "use_qk_norm": True}),
    ("arcee", {}),
    ("arcee", {**MHA, **TIED, **LLAMA3}),
    ("apertus", rope("default")),
    ("apertus", {**WIDE, **MHA, **TIED, **LLAMA3}),
    ("seed_oss", {"head_dim": 16}),
    ("seed_oss", {"head_dim": 32, **MHA, "attention_bias": False, **YARN}),
    ("ernie4_5", {"head_dim": 16}),
    ("ernie4_5", {**WIDE, **MHA, **UNTIED, **YARN}),
    ("glm", {"head_dim": 16}),
    ("glm4", {"head_dim": 16}),
    ("glm4", {**WIDE, **MHA, "attention_bias": False, "partial_rotary_factor": 1.0}),
    ("exaone4", {"sliding_window": None, "layer_types": ["full_attention"] * 4, **LLAMA3}),
    ("exaone4", {**WINDOW, **TIED, "num_hidden_layers": 64, "intermediate_size": 32}),
    ("cohere2", {**WINDOW, "logit_scale": 2.0}),
    ("nemotron", {}),
    ("nemotron", {**MHA, **BIAS, "mlp_bias": True, "partial_rotary_factor": 1.0}),
    ("glm4_moe_lite", {**LATENT, **ONE_GROUP}),
    ("ernie4_5_moe", ERNIE),
    ("ernie4_5_moe", {**ERNIE, **MHA, **UNTIED, "moe_layer_start_index": 2}),
    ("minimax_m2", {**LOCAL, "head_dim": 16, "rotary_dim": 8}),
    (
        "granitemoe",
        {**LOCAL, "embedding_multiplier": 3.0, "logits_scaling": 2.0, "attention_multiplier": 0.2},
    ),
    ("hunyuan_v1_dense", {}),
    ("hunyuan_v1_dense", {**WIDE, **MHA, **TIED, **rope("dynamic", alpha=50.0, factor=1.0)}),
    ("hunyuan_v1_moe", {"num_experts": 8, "moe_topk": 3}),
    ("hunyuan_v1_moe", {**WIDE, **MHA, **TIED, "num_experts": 6, "moe_topk": 2}),
    ("lfm2", {**CONV, **TIED}),
    ("lfm2", {**CONV, **MHA, **UNTIED, "conv_L_cache": 4, **WIDE_THETA}),
    ("lfm2_moe", {**QWEN, **CONV, "num_dense_layers": 1}),
    ("qwen3_next", {**SHARED, **DELTA}),
    ("qwen3_next", {**SHARED, **DELTA, **MHA, **TIED, "linear_num_key_heads": 6, **YARN}),
    ("qwen3_5_text", DELTA),
    ("qwen3_5_text", {**DELTA, **MHA, **TIED, "full_attention_interval": 2, **YARN}),
    ("qwen3_5_text", {**DELTA, "layer_types": ["full_attention", *["linear_attention"] * 3]}),
    ("qwen3_5_moe_text", {**SHARED, **DELTA}),
    ("qwen3_5_moe_text", {**SHARED, **DELTA, **TIED, "linear_num_key_heads": 6, "linear_conv_kernel_dim": 3}),
    ("granitemoehybrid", {**ALONE, **TIED, "residual_multiplier": 0.5, "attention_multiplier": 0.2}),
    ("granitemoehybrid", {**ALONE, "position_embedding_type": "nope"}),
    ("granitemoehybrid", GRANITE_H),
    ("granitemoehybrid", {**GRANITE_H, **LOCAL, **TIED, "shared_intermediate_size": 40, "mamba_d_conv": 3}),
    (
        "granitemoehybrid",
        {
            **{
                **GRANITE_H,
                **MHA,
                **BIAS,
                **LLAMA3,
                "position_embedding_type": "rope",
                "logits_scaling": 2.0,
            },
            **{"layer_types": ["attention", "mamba", "mamba", "attention"], "mamba_d_state": 12},
            **{"mamba_n_heads": 16, "mamba_n_groups": 2, "mamba_d_head": "auto"},
        },
    ),
    ("nemotron_h", NEMOTRON_H),
    (
        "nemotron_h",
        {
            **{**NEMOTRON_H, **MHA, **TIED, "layers_block_type": ["attention", "mamba", "mamba", "mlp"]},
            **{"mlp_bias": True, "mamba_num_heads": 6, "mamba_head_dim": 12, "n_groups": 3, "head_dim": 32},
            "ssm_state_size": 10,
        },
    ),
    ("falcon_h1", FALCON_H1),
    ("falcon_h1", {**FALCON_H1, **MHA, **TIED, "mamba_rms_norm": True, "mamba_norm_before_gate": False}),
    ("nemotron_h", NEMOTRON_3),
    ("nemotron_h", {**NEMOTRON_3, **GROUPS, **TIED, "norm_topk_prob": False, "num_experts_per_tok": 4}),
    ("granitemoehybrid", {**ALONE, **LOCAL, "shared_intermediate_size": 40}),
    ("granitemoehybrid", {**ALONE, **LOCAL, **TIED, "shared_intermediate_size": 32, "logits_scaling": 2.0}),
    ("llama4_text", {**LOCAL, "head_dim": 16, "intermediate_size_mlp": 64, "interleave_moe_layer_step": 2}),
    ("llama4_text", {**LOCAL, **WIDE, **MHA, **TIED, **LLAMA3, "num_hidden_layers": 5}),
    ("gpt_oss", {**LOCAL, **WINDOW, "head_dim": 16, **rope("default")}),
]
"""A family, and how its config.json differs from SIZES; llama.cpp computes all of these."""


def case_config(family: str, changes: dict[str, Any]) -> ModelConfig:
    """The config of a case."""
    sizes = GPT2_SIZES if family == "gpt2" else SIZES
    if family == "gpt_neox":
        sizes = {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}
    return ModelConfig.from_hf({"model_type": family, **sizes, **changes})


def random_model(config: ModelConfig, seed: int = 0) -> Transformer:
    """Its model, norms and biases at random too."""
    model = Transformer(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.normal_(0.0, 0.2, generator=generator)
            factor = tensor.dim() == 1 and "norm" in name and name.endswith("weight")
            if (factor and not config.norm_plus_one) or name.endswith(("scale", "scalar")):
                tensor.add_(1.0)
    return model
