"""Families with a mixture of experts in place of the MLP."""

from llmkit.model.families import stored
from llmkit.model.families.experts import DeepSeekExperts, EveryLayer, QwenExperts
from llmkit.model.families.family import BIAS, QKV_AND_O, Family, rms, sizes
from llmkit.model.families.gemma4 import GEMMA4
from llmkit.model.families.hunyuan import HUNYUAN, HunYuanExperts
from llmkit.model.families.latent import LatentHeads, LatentRope
from llmkit.model.families.llama4 import LLAMA4
from llmkit.model.families.parts import Choice, Constant, Fixed, Flag, Heads, SpecialIds, Training
from llmkit.model.families.ranges import ErnieExperts
from llmkit.model.families.rope import AlphaRope, Rope
from llmkit.model.families.scales import GraniteScales
from llmkit.model.families.windows import Windows
from llmkit.model.layer_kinds import dots1, every, odd_before_max_window_layers, one_window

_GPT_OSS_SCALING = {
    **{"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096},
    **{"beta_fast": 32.0, "beta_slow": 1.0, "truncate": False},
}

SPARSE: dict[str, Family] = {
    "mixtral": Family(
        "MixtralForCausalLM",
        (
            *(*sizes(131_072), Heads(kv_heads=8), Rope(1_000_000.0), rms(1e-5), SpecialIds(1, 2)),
            Windows(one_window(None), has_layer_types=False),
            EveryLayer(normalised=True, coefficient=0.001),
        ),
        stored.MIXTRAL,
    ),
    "qwen2_moe": Family(
        "Qwen2MoeForCausalLM",
        (
            *(*sizes(32_768), Heads(kv_heads=16), Rope(), rms(), SpecialIds()),
            Flag(("attention_bias",), "qkv_bias", True),
            Windows(odd_before_max_window_layers, has_switch=True),
            *(QwenExperts(shared=True), Training(ignored=("max_window_layers",))),
        ),
        stored.EXPERTS,
    ),
    "qwen3_moe": Family(
        "Qwen3MoeForCausalLM",
        (
            *(*sizes(32_768), Heads(kv_heads=4), Rope(), rms(), BIAS, SpecialIds()),
            *(QwenExperts(shared=False), Fixed({"qk_norm": "head"})),
            Windows(one_window(4096, used=False), has_layer_types=False, has_switch=True),
            Training(ignored=("max_window_layers",)),
        ),
        stored.EXPERTS,
    ),
    "olmoe": Family(
        "OlmoeForCausalLM",
        (
            *(*sizes(4096), Heads(has_head_dim=False), Rope(), rms(1e-5), BIAS, SpecialIds(None, 50279, 1)),
            *(EveryLayer(normalised=None, coefficient=0.01), Fixed({"qk_norm": "projection"})),
            Constant({"clip_qkv": None}),
        ),
        stored.EXPERTS,
    ),
    "deepseek_v2": Family(
        "DeepseekV2ForCausalLM",
        (
            *(
                *sizes(2048),
                LatentHeads(),
                LatentRope(always_interleaved=True),
                rms(),
                BIAS,
                SpecialIds(1, 2),
            ),
            *(DeepSeekExperts(2, 0, 2, 1.0, False), Flag(("mlp_bias",), "mlp_bias")),
        ),
        stored.DEEPSEEK,
    ),
    "deepseek_v3": Family(
        "DeepseekV3ForCausalLM",
        (
            *(
                *sizes(4096),
                LatentHeads(),
                LatentRope(always_interleaved=False),
                rms(),
                BIAS,
                SpecialIds(0, 1),
            ),
            DeepSeekExperts(3, 3, 1, 2.5, True, groups=8, topk_groups=4),
        ),
        stored.DEEPSEEK,
    ),
    "dots1": Family(
        "Dots1ForCausalLM",
        (
            *(*sizes(2048), Heads(kv_heads=32), Rope(), rms(), BIAS, SpecialIds()),
            *(DeepSeekExperts(3, 0, 0, 1.0, False), Fixed({"qk_norm": "head"})),
            Windows(dots1, has_max_window_layers=True),
        ),
        stored.DEEPSEEK,
    ),
    "glm4_moe": Family(
        "Glm4MoeForCausalLM",
        (
            *(*sizes(131_072), Heads(kv_heads=8), Rope(partial=0.5, has_partial=True), rms(1e-5)),
            *(Flag(("attention_bias",), "attention_bias"), SpecialIds(), DeepSeekExperts(3, 1, 1, 1.0, True)),
            Choice("qk_norm", "use_qk_norm", "none", "head"),
        ),
        stored.DEEPSEEK,
    ),
    "glm4_moe_lite": Family(
        "Glm4MoeLiteForCausalLM",
        (
            *(*sizes(202_752), LatentHeads(768, 192, 256), LatentRope(always_interleaved=False), rms(1e-5)),
            *(BIAS, SpecialIds(0, 1), Constant({"partial_rotary_factor": 1.0})),
            DeepSeekExperts(3, 1, 1, 1.8, True, layer_types=True),
        ),
        stored.DEEPSEEK,
    ),
    "ernie4_5_moe": Family(
        "Ernie4_5_MoeForCausalLM",
        (
            *(*sizes(131_072), Heads(kv_heads=4), Rope(500_000.0), rms(1e-5), SpecialIds(1, 2, 0)),
            *(ErnieExperts(), Constant({"use_bias": False}), Fixed({"rope_interleaved": True})),
        ),
        stored.ERNIE,
        tied=True,
    ),
    "minimax_m2": Family(
        "MiniMaxM2ForCausalLM",
        (
            *(*sizes(196_608), Heads(kv_heads=8, head_dim=128), rms(), SpecialIds(200_034, 200_020)),
            Rope(5_000_000.0, has_partial=True, dim_key="rotary_dim"),
            *(EveryLayer(True, 0.001, sigmoid=True), Fixed({"qk_norm": "projection"})),
            Constant({"use_qk_norm": True, "qk_norm_type": "per_layer", "scoring_func": "sigmoid"}),
            Constant({"use_routing_bias": True, "shared_intermediate_size": 0}),
            Training(ignored=("num_mtp_modules", "mtp_transformer_layers", "use_mtp", "shared_moe_mode")),
        ),
        stored.MINIMAX,
    ),
    "granitemoe": Family(
        "GraniteMoeForCausalLM",
        (
            *(*sizes(2048), Heads(), Rope(), rms(), BIAS, GraniteScales(), SpecialIds(1, 2)),
            EveryLayer(normalised=True, coefficient=0.001),
        ),
        stored.GRANITE_MOE,
    ),
    "hunyuan_v1_moe": Family(
        "HunYuanMoEV1ForCausalLM",
        (
            *(*sizes(2048), Heads(), AlphaRope(), rms(1e-5), BIAS, SpecialIds(1, 2, 0), *HUNYUAN),
            *(HunYuanExperts(), Constant({"moe_layer_num_skipped": 0, "norm_topk_prob": True})),
            Constant({"use_mla": False, "group_limited_greedy": False}),
            Training(ignored=("eod_token_id", "sep_token_id", "im_start_id", "im_end_id")),
        ),
        stored.HUNYUAN_MOE,
    ),
    "gpt_oss": Family(
        "GptOssForCausalLM",
        (
            *(
                *sizes(131_072),
                Heads(kv_heads=8, head_dim=64),
                Rope(150_000.0, scaling=_GPT_OSS_SCALING),
                rms(1e-5),
                SpecialIds(),
            ),
            *(
                Flag(QKV_AND_O, "attention_bias", True),
                Windows(every(2, 128)),
                Fixed({"attention_sinks": True}),
            ),
            EveryLayer(normalised=True, coefficient=0.001, gpt_oss=True),
            Training(ignored=("initial_context_length", "swiglu_alpha")),
        ),
        stored.GPT_OSS,
    ),
    "gemma4_text": Family("Gemma4ForCausalLM", GEMMA4, stored.GEMMA4, tied=True),
    "llama4_text": Family(
        "Llama4ForCausalLM",
        (
            *(*sizes(131_072), Heads(kv_heads=8, head_dim=128), Rope(500_000.0), rms(1e-5), BIAS),
            SpecialIds(1, 2),
            *LLAMA4,
        ),
        stored.LLAMA4,
    ),
}
"""By model_type."""
