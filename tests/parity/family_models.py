"""Small models of every family as transformers makes and saves them, and how far ours is from theirs."""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine
from llmkit.engine.request import Request
from llmkit.model.load import load_model
from llmkit.model.transformer import Transformer

SIZES: dict[str, Any] = {
    **{"vocab_size": 96, "hidden_size": 64, "intermediate_size": 80, "num_hidden_layers": 4},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256},
    **{"pad_token_id": None, "bos_token_id": None, "eos_token_id": None},
}
WINDOW = {"sliding_window": 16}
MHA = {"num_key_value_heads": 4}
TIED, UNTIED, BIAS = {"tie_word_embeddings": True}, {"tie_word_embeddings": False}, {"attention_bias": True}
LOCAL = {"num_local_experts": 8, "num_experts_per_tok": 2}
QWEN = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 24}
SHARED = {**QWEN, "shared_expert_intermediate_size": 40}
LATENT = {
    **{"kv_lora_rank": 24, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 12},
    **{
        "n_routed_experts": 8,
        "num_experts_per_tok": 3,
        "moe_intermediate_size": 24,
        "num_key_value_heads": 4,
    },
    **{"first_k_dense_replace": 1, "n_shared_experts": 2, "head_dim": 8},  # there, what is rotated
}
ROUTED = {"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 24}
LITE = {name: value for name, value in LATENT.items() if name != "first_k_dense_replace"}
ERNIE = {"moe_num_experts": 8, "moe_k": 3, "moe_intermediate_size": 24, "head_dim": 16}
ALONE = {
    **{"layer_types": ["full_attention"] * 4, "num_local_experts": 0, "position_embedding_type": "rope"},
    **{"shared_intermediate_size": 40, "mamba_n_heads": 8, "mamba_d_head": 16},
}
MAMBA = {
    **{"layer_types": ["mamba", "attention", "mamba", "mamba"], "num_local_experts": 0},
    **{"shared_intermediate_size": 40, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 12},
    **{"residual_multiplier": 0.5, "attention_multiplier": 0.25, "mamba_chunk_size": 32},
}
BAMBA = {
    **{"attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 12},
    "mamba_chunk_size": 32,
}
FALCON_H1 = {
    **{"mamba_d_ssm": 128, "mamba_n_heads": 8, "mamba_d_head": "auto", "mamba_d_state": 12},
    **{"mamba_chunk_size": 32, "embedding_multiplier": 3.0, "lm_head_multiplier": 0.5, "key_multiplier": 0.3},
    **{"attention_in_multiplier": 0.8, "attention_out_multiplier": 1.5, "ssm_in_multiplier": 1.25},
    **{"ssm_out_multiplier": 0.4, "ssm_multipliers": [0.9, 0.5, 1.3, 0.7, 0.3]},
    "mlp_multipliers": [0.6, 0.9],
}
LLAMA4 = {
    **{"num_local_experts": 8, "intermediate_size_mlp": 48, "attention_chunk_size": 16},
    **{"floor_scale": 6, "attn_scale": 0.3},
}
GEMMA4 = {
    **{"global_head_dim": 32, "num_global_key_value_heads": 1, "hidden_size_per_layer_input": 0, **WINDOW},
}
GEMMA4_SMALL = {  # E2B
    **{**GEMMA4, "hidden_size_per_layer_input": 12, "vocab_size_per_layer_input": 96},
    **{"num_hidden_layers": 8, "num_kv_shared_layers": 2},  # the sixth and the last see everything
    **{"use_double_wide_mlp": True, "final_logit_softcapping": 4.0},
}
GEMMA4_EXPERTS = {
    **{**GEMMA4, "enable_moe_block": True, "num_experts": 8, "top_k_experts": 3, "attention_k_eq_v": True},
    "moe_intermediate_size": 24,
}
ONE_BRANCH = {
    **{"layers_block_type": ["mamba", "mlp", "attention", "mlp", "mamba"], "mamba_num_heads": 8},
    **{"mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 12, "chunk_size": 32},
}
SPARSE_BRANCH = {
    **{**ROUTED, "layers_block_type": ["mamba", "moe", "attention", "moe", "mamba"]},
    **{"moe_shared_expert_intermediate_size": 40, "routed_scaling_factor": 2.5},
}
GROUPS = {"n_group": 4, "topk_group": 2}
DELTA = {
    **{"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16},
    **{"linear_value_head_dim": 12, "full_attention_interval": 2},
}
CONV = {"layer_types": ["conv", "full_attention", "conv", "conv"], "conv_L_cache": 4, "block_multiple_of": 8}
PLUS_ONE = ("gemma", "nemotron", "qwen3_next", "qwen3_5")
"""Families whose norms add 1 to their weights."""
ONE_GROUP = {"n_group": 1, "topk_group": 1}


def rope(rope_type: str, **numbers: Any) -> dict[str, Any]:
    """rope_parameters of one type."""
    return {"rope_parameters": {"rope_type": rope_type, "rope_theta": 10_000.0, **numbers}}


def partial(factor: float) -> dict[str, Any]:
    """rope_parameters that rotate a part of each head."""
    return rope("default", partial_rotary_factor=factor)


LINEAR, DYNAMIC = rope("linear", factor=4.0), {**rope("dynamic", factor=4.0), "max_position_embeddings": 48}
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=64)
LLAMA3 = rope(
    "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
)
LONG = {
    **rope("longrope", short_factor=[1.0 + n / 9 for n in range(8)], long_factor=[2.0 + n for n in range(8)]),
    "original_max_position_embeddings": 80,
}
MSCALE = {
    "rope_parameters": {
        **{"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "mscale": 0.7, "mscale_all_dim": 0.9},
        **{"original_max_position_embeddings": 64, "beta_fast": 32, "beta_slow": 1},
    }
}
QUERIES = {
    "max_position_embeddings": 240,
    "rope_parameters": {
        **{"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 12.0, "mscale": 1.0, "mscale_all_dim": 1.0},
        **{"original_max_position_embeddings": 20, "beta_fast": 32, "beta_slow": 1},
        "llama_4_scaling_beta": 0.1,
    },
}
SCALED_FULL = {
    "rope_parameters": {
        "full_attention": {**YARN["rope_parameters"], "rope_theta": 500_000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 500_000.0},
    }
}
NARROW = {
    **{"hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 1, "head_dim": 12},
    **{"num_hidden_layers": 3, "intermediate_size": 36},
}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {**MHA, **TIED, **BIAS, "mlp_bias": True}),
    *(("llama", scaling) for scaling in (LINEAR, DYNAMIC, YARN, LLAMA3)),
    ("llama", {**NARROW, **TIED}),
    ("mistral", {"sliding_window": None}),
    ("mistral", WINDOW),
    ("mistral", {**WINDOW, **MHA, **TIED, **YARN}),
    ("ministral3", QUERIES),
    ("ministral3", {**QUERIES, **MHA, **TIED}),
    ("mixtral", LOCAL),
    ("mixtral", {**LOCAL, **WINDOW, **MHA}),
    ("mixtral", {**LOCAL, **TIED, **LLAMA3}),
    ("qwen2", TIED),
    ("qwen2", {**MHA, **DYNAMIC}),
    ("qwen2", {"use_sliding_window": True, **WINDOW, "max_window_layers": 2, **YARN}),
    ("qwen3", {}),
    ("qwen3", {**MHA, **LINEAR}),
    ("qwen3", {**TIED, **BIAS, "use_sliding_window": True, **WINDOW, "max_window_layers": 1}),
    ("qwen2_moe", {**SHARED, "mlp_only_layers": [1], "norm_topk_prob": True}),
    ("qwen2_moe", {**SHARED, "decoder_sparse_step": 2, "qkv_bias": False}),
    ("qwen2_moe", {**SHARED, **MHA, **TIED, **YARN}),
    ("qwen3_moe", {**QWEN, "norm_topk_prob": True}),
    ("qwen3_moe", {**QWEN, "mlp_only_layers": [0, 2], **TIED, **YARN}),
    ("olmoe", {"num_experts": 8, "num_experts_per_tok": 2}),
    ("olmoe", {"num_experts": 8, "num_experts_per_tok": 2, "norm_topk_prob": True, **MHA, **TIED, **YARN}),
    ("gemma", {}),
    ("gemma", {**MHA, **UNTIED}),
    ("gemma2", WINDOW),
    ("gemma2", {**WINDOW, **MHA, **UNTIED, "attn_logit_softcapping": None, "final_logit_softcapping": None}),
    (
        "gemma2",
        {**WINDOW, "query_pre_attn_scalar": 9, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0},
    ),
    ("gemma3_text", {**WINDOW, "sliding_window_pattern": 2}),
    ("gemma3_text", {**WINDOW, **MHA, **UNTIED, **SCALED_FULL, "query_pre_attn_scalar": 20}),
    (
        "gemma3_text",
        {
            **WINDOW,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            },
        },
    ),
    ("gemma4_text", {**GEMMA4, "attention_k_eq_v": True}),
    ("gemma4_text", GEMMA4_SMALL),
    ("gemma4_text", {**GEMMA4_EXPERTS, **UNTIED}),
    ("phi3", {}),
    ("phi3", {**LONG, **MHA}),
    ("phi3", {**WINDOW, "partial_rotary_factor": 0.75}),
    ("phi3", {**MHA, **TIED, "partial_rotary_factor": 0.5}),
    ("phi", {}),
    ("phi", {**MHA, "partial_rotary_factor": 0.25}),
    ("phi", {**TIED, **LINEAR}),
    ("olmo2", {}),
    ("olmo2", {**MHA, **TIED}),
    ("olmo2", LLAMA3),
    ("olmo3", {**WINDOW, **MHA}),
    ("olmo3", {**WINDOW, **TIED, **SCALED_FULL}),
    ("smollm3", {}),
    ("smollm3", {**UNTIED, "no_rope_layers": [1, 0, 0, 1]}),
    ("smollm3", {"use_sliding_window": True, **WINDOW, **MHA, **YARN, "no_rope_layer_interval": 2}),
    (
        "granite",
        {
            "embedding_multiplier": 3.0,
            "logits_scaling": 2.0,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.2,
        },
    ),
    ("gpt2", {}),
    ("gpt2", {"n_head": 8, "n_embd": 48, "activation_function": "relu"}),
    ("gpt2", {**UNTIED, "n_inner": 100}),
    ("gpt_neox", {}),
    ("gpt_neox", {**TIED, **LINEAR}),
    ("gpt_neox", {"use_parallel_residual": False, "rotary_pct": 0.5, "attention_bias": False}),
    ("stablelm", {"use_qkv_bias": True}),
    ("stablelm", {**TIED, **DYNAMIC}),
    ("stablelm", {"use_parallel_residual": True, **MHA, "partial_rotary_factor": 0.5}),
    ("starcoder2", {}),
    ("starcoder2", {**MHA, **YARN}),
    ("starcoder2", {**WINDOW, "use_bias": False, **UNTIED}),
    ("cohere", {}),
    ("cohere", {**UNTIED, **LINEAR}),
    ("cohere", {**MHA, "logit_scale": 2.0}),
    ("granite", {**MHA, **TIED, **BIAS, "mlp_bias": True, "attention_multiplier": 0.25, **LLAMA3}),
    ("deepseek_v2", {**LATENT, "q_lora_rank": None}),
    (
        "deepseek_v2",
        {**LATENT, **TIED, **BIAS, "q_lora_rank": 20, "n_shared_experts": 1, "first_k_dense_replace": 0},
    ),
    ("deepseek_v2", {**LATENT, **GROUPS, "q_lora_rank": 20, "topk_method": "group_limited_greedy", **MSCALE}),
    ("deepseek_v3", {**LATENT, **GROUPS, "q_lora_rank": 20}),
    ("deepseek_v3", {**LATENT, **GROUPS, **TIED, "q_lora_rank": 20, "rope_interleave": False}),
    ("deepseek_v3", {**LATENT, **ONE_GROUP, "q_lora_rank": None, **BIAS, **MSCALE}),
    (
        "dots1",
        {**ROUTED, **GROUPS, "n_shared_experts": 2, "first_k_dense_replace": 1, "norm_topk_prob": True},
    ),
    ("dots1", {**ROUTED, "n_shared_experts": 1, "routed_scaling_factor": 1.5}),
    ("dots1", {**ROUTED, **MHA, **TIED, **WINDOW, **YARN, "max_window_layers": 2, "n_shared_experts": 1}),
    ("glm4_moe", {**ROUTED, **GROUPS, **BIAS, "n_shared_experts": 1}),
    ("glm4_moe", {**ROUTED, "use_qk_norm": True, "first_k_dense_replace": 2}),
    ("glm4_moe", {**ROUTED, **MHA, **TIED, **LINEAR}),
    ("arcee", {}),
    ("arcee", {**MHA, **TIED, **BIAS, "mlp_bias": True, **YARN}),
    ("apertus", rope("default")),
    ("apertus", {**MHA, **TIED, **BIAS, **LLAMA3}),
    ("seed_oss", {"head_dim": 20}),
    (
        "seed_oss",
        {**MHA, **TIED, **YARN, "attention_bias": False, "attention_out_bias": True, "mlp_bias": True},
    ),
    ("helium", {}),
    ("helium", {**MHA, **TIED, **BIAS, "mlp_bias": True, **LINEAR}),
    ("ernie4_5", {}),
    ("ernie4_5", {**MHA, **UNTIED, "use_bias": True, **YARN}),
    ("glm", {}),
    ("glm", {**MHA, **TIED, "attention_bias": False, "partial_rotary_factor": 1.0}),
    ("glm4", {}),
    ("glm4", {**MHA, **TIED, "attention_bias": False, **partial(0.25)}),
    ("exaone4", WINDOW),
    ("exaone4", {**TIED, "sliding_window": None, "layer_types": ["full_attention"] * 4, **LLAMA3}),
    ("exaone4", {**WINDOW, **MHA, "sliding_window_pattern": 2}),
    ("cohere2", WINDOW),
    (
        "cohere2",
        {**WINDOW, **MHA, **UNTIED, **BIAS, "logit_scale": 2.0, **LINEAR},
    ),
    ("nemotron", {}),
    ("nemotron", {**MHA, **TIED, **BIAS, "mlp_bias": True, "hidden_act": "silu", **partial(1.0)}),
    ("glm4_moe_lite", {**LITE, "q_lora_rank": 20}),
    ("glm4_moe_lite", {**LITE, **TIED, **BIAS, **GROUPS, "q_lora_rank": None}),
    ("ernie4_5_moe", ERNIE),
    (
        "ernie4_5_moe",
        {**ERNIE, **MHA, **UNTIED, "moe_layer_interval": 2, "moe_num_shared_experts": 0, **YARN},
    ),
    ("minimax_m2", LOCAL),
    ("minimax_m2", {**LOCAL, **MHA, **TIED, **partial(0.5)}),
    ("granitemoe", {**LOCAL, "attention_multiplier": 0.25}),
    ("llama4_text", {**LLAMA4, "interleave_moe_layer_step": 2}),
    ("llama4_text", {**LLAMA4, **MHA, **TIED, **LLAMA3, "no_rope_layers": [1, 0, 0, 1]}),
    ("llama4_text", {**LLAMA4, **BIAS, "num_experts_per_tok": 3, "use_qk_norm": False}),
    (
        "llama4_text",
        {**LLAMA4, "moe_layers": [], "attention_chunk_size": None, "attn_temperature_tuning": False},
    ),
    (
        "granitemoe",
        {
            **{**LOCAL, **MHA, **TIED, **BIAS, "embedding_multiplier": 3.0, "logits_scaling": 2.0},
            **{"residual_multiplier": 0.5, "attention_multiplier": 0.2, **LLAMA3},
        },
    ),
    ("hunyuan_v1_dense", {}),
    ("hunyuan_v1_dense", {**MHA, **TIED, **BIAS, **rope("dynamic", alpha=50.0, factor=1.0)}),
    ("hunyuan_v1_moe", {"num_experts": 8, "moe_topk": 3}),
    (
        "hunyuan_v1_moe",
        {**{"num_experts": 6, "moe_topk": [2] * 4}, **MHA, **TIED, **rope("dynamic", alpha=50.0, factor=1.0)},
    ),
    ("granitemoehybrid", {**ALONE, "attention_multiplier": 0.25}),
    ("nemotron_h", ONE_BRANCH),
    (
        "nemotron_h",
        {
            **{**ONE_BRANCH, **MHA, "layers_block_type": ["attention", "mamba", "mamba", "mlp"]},
            **{"use_bias": True, "mlp_bias": True, "use_conv_bias": False, "conv_kernel": 3},
            **{"mlp_hidden_act": "silu", "n_groups": 1, "mamba_num_heads": 3, "head_dim": 12},
        },
    ),
    ("nemotron_h", {**ONE_BRANCH, **SPARSE_BRANCH}),
    (
        "nemotron_h",
        {
            **{
                **ONE_BRANCH,
                **SPARSE_BRANCH,
                **GROUPS,
                "layers_block_type": ["moe", "attention", "mlp", "moe"],
            },
            **{"mlp_bias": True, "norm_topk_prob": False, "mlp_hidden_act": "silu"},
        },
    ),
    ("bamba", BAMBA),
    (
        "bamba",
        {
            **{**BAMBA, **MHA, **TIED, **BIAS, "mlp_bias": True, "mamba_n_groups": 2, "mamba_d_conv": 3},
            **{"mamba_conv_bias": False, "mamba_proj_bias": True, "attn_layer_indices": [0, 2]},
        },
    ),
    ("falcon_h1", FALCON_H1),
    (
        "falcon_h1",
        {
            **{**FALCON_H1, **MHA, **TIED, "mamba_d_ssm": 96, "mamba_n_heads": 6, "mamba_n_groups": 3},
            **{"mamba_rms_norm": True, "mamba_norm_before_gate": False, "mamba_conv_bias": False},
            **{"mamba_d_conv": 3, "num_hidden_layers": 3},
        },
    ),
    ("granitemoehybrid", MAMBA),
    ("granitemoehybrid", {**MAMBA, **LOCAL, **TIED, "mamba_n_groups": 2, "position_embedding_type": "rope"}),
    (
        "granitemoehybrid",
        {
            **{**MAMBA, **NARROW, "mamba_n_heads": 6, "mamba_n_groups": 3, "mamba_expand": 1},
            **{"layer_types": ["mamba", "mamba", "attention"], "mamba_d_conv": 3, "mamba_d_head": "auto"},
            **{"mamba_conv_bias": False, "mamba_proj_bias": True, "embedding_multiplier": 3.0},
        },
    ),
    (
        "granitemoehybrid",  # scores that are not scaled at all would tell what each machine's products round
        {
            **{**ALONE, **MHA, **TIED, **BIAS, "attention_multiplier": 0.2},
            **{"residual_multiplier": 0.5, "logits_scaling": 2.0},
        },
    ),
    ("qwen3_next", {**SHARED, **DELTA}),
    (
        "qwen3_next",
        {**SHARED, **DELTA, **MHA, **TIED, **BIAS, "mlp_only_layers": [1], "linear_num_key_heads": 4, **YARN},
    ),
    ("qwen3_5_text", DELTA),
    ("qwen3_5_text", {**DELTA, **MHA, **TIED, "layer_types": ["full_attention", *["linear_attention"] * 3]}),
    ("qwen3_5_moe_text", {**SHARED, **DELTA, **MHA, **TIED}),
    ("qwen3_5_moe_text", {**SHARED, **DELTA, "linear_num_key_heads": 4, "linear_conv_kernel_dim": 3}),
    ("lfm2", CONV),
    ("lfm2", {**CONV, **MHA, **UNTIED, "conv_bias": True, "block_auto_adjust_ff_dim": False, **LINEAR}),
    ("lfm2_moe", {**QWEN, **CONV, "num_dense_layers": 1}),
    (
        "lfm2_moe",
        {**QWEN, **CONV, **UNTIED, "use_expert_bias": False, "routed_scaling_factor": 1.5, "conv_bias": True},
    ),
    ("gpt_oss", {**LOCAL, **WINDOW}),
    ("gpt_oss", {**LOCAL, **WINDOW, **MHA, **TIED, **LINEAR}),
    ("gpt_oss", {**LOCAL, **WINDOW, "attention_bias": False, **YARN}),
]
"""A family, and how its model differs from SIZES."""


@dataclass(frozen=True)
class Pair:
    """One model opened by both."""

    ours: Transformer
    theirs: nn.Module


def their_config(family: str, changes: dict[str, Any], sizes: dict[str, Any] = SIZES) -> Any:
    """transformers' config of a small model: `sizes` that the family has, but for `changes`."""
    from transformers import CONFIG_MAPPING

    known = CONFIG_MAPPING[family]()
    known.allow_global_per_layer_attribute_access = True  # of Gemma 4, whose layers' heads differ
    asked = {name: value for name, value in sizes.items() if hasattr(known, name)} | changes
    return CONFIG_MAPPING[family](**deepcopy(asked))  # which writes into the objects it is given


def make_pair(family: str, changes: dict[str, Any], folder: Path, seed: int = 0) -> Pair:
    """A model with every number at random, made and saved by transformers, and opened by llmkit."""
    from transformers import AutoModelForCausalLM

    config = their_config(family, changes)
    theirs = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*theirs.named_parameters(), *theirs.named_buffers()):
            if name.endswith("e_score_correction_bias"):
                tensor.normal_(0.0, 0.05, generator=generator)
            elif "inv_freq" not in name and name in theirs.state_dict():
                tensor.normal_(0.0, 0.2, generator=generator)
                if tensor.dim() == 1 and "norm" in name and name.endswith("weight"):
                    adds_one = family.startswith(PLUS_ONE) and "linear_attn" not in name
                    tensor.add_(0.0 if adds_one else 1.0)
    theirs.save_pretrained(folder)
    return Pair(load_model(folder), theirs)


@torch.no_grad()
def logit_gap(pair: Pair, tokens: int = 64) -> float:
    """The largest difference of logits over two texts of so many tokens."""
    ids = _ids(pair, 2, tokens)
    theirs: Tensor = pair.theirs(ids).logits
    assert theirs.std() > 0.05
    return (pair.ours(ids) - theirs).abs().max().item()


@torch.no_grad()
def greedy_texts(pair: Pair, prompt_tokens: int = 40, new_tokens: int = 64) -> tuple[list[int], list[int]]:
    """What each writes after one prompt, through its cache: ours, theirs."""
    new_tokens = min(new_tokens, pair.ours.config.max_position_embeddings - prompt_tokens)
    prompt = _ids(pair, 1, prompt_tokens)
    written = pair.theirs.generate(  # type: ignore[operator]
        prompt, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False, pad_token_id=0
    )
    sampling = SamplingConfig(temperature=0.0, max_tokens=new_tokens, ignore_eos=True)
    drawn = Engine(pair.ours).run(Request(tuple(prompt[0].tolist()), sampling))
    return [one.id for one in drawn], written[0, prompt_tokens:].tolist()


def _ids(pair: Pair, texts: int, tokens: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(3, pair.ours.config.vocab_size, (texts, tokens), generator=generator)
