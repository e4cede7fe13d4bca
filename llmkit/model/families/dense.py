"""Families whose every layer has one MLP."""

from llmkit.model.families import stored
from llmkit.model.families.family import (
    BIAS,
    BIASED,
    NO_DROPOUT,
    PLAIN_MLP,
    QKV_AND_O,
    Family,
    layer_norm,
    rms,
    sizes,
)
from llmkit.model.families.gpt2 import InnerWidth, OneKindOfHead, Positions
from llmkit.model.families.parts import (
    Choice,
    Constant,
    Fixed,
    Flag,
    Heads,
    Number,
    SpecialIds,
    Training,
    Whole,
    Word,
)
from llmkit.model.families.rope import Rope, RopeByKind
from llmkit.model.families.scales import GraniteScales, QueryScalar, RootOfWidth
from llmkit.model.families.windows import NoRopeLayers, Windows
from llmkit.model.layer_kinds import after_max_window_layers, every, one_window, smollm3

_QWEN_WINDOWS = Windows(after_max_window_layers, has_switch=True, has_max_window_layers=True)
_GEMMA_SIZES = sizes(8192, "gelu_pytorch_tanh", ("hidden_activation", "hidden_act"))
_GEMMA = (
    rms(),
    BIAS,
    RootOfWidth(),
    Fixed({"norm_plus_one": True}),
    Constant({"use_bidirectional_attention": False}),
)
_SOFTCAPS = (
    Number("attn_logit_softcapping", "attn_logit_softcapping", 50.0, null_is_none=True),
    Number("final_logit_softcapping", "final_logit_softcapping", 30.0, null_is_none=True),
)

_SUMMARY = (
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
)
"""Of GPT-2's classes for other tasks."""

DENSE: dict[str, Family] = {
    "llama": Family(
        "LlamaForCausalLM",
        (*sizes(2048), Heads(), Rope(), rms(), BIAS, Flag(("mlp_bias",), "mlp_bias"), SpecialIds(1, 2)),
    ),
    "mistral": Family(
        "MistralForCausalLM",
        (
            *(*sizes(131_072), Heads(kv_heads=8), Rope(), rms(), SpecialIds(1, 2)),
            Windows(one_window(4096), has_layer_types=False),
        ),
    ),
    "qwen2": Family(
        "Qwen2ForCausalLM",
        (
            *(*sizes(32_768), Heads(kv_heads=32), Rope(), rms(), SpecialIds(), _QWEN_WINDOWS),
            *(Fixed({"attention_bias": True}), Training(ignored=("attention_bias",))),
        ),
    ),
    "qwen3": Family(
        "Qwen3ForCausalLM",
        (
            *(*sizes(32_768), Heads(kv_heads=32, head_dim=128), Rope(), rms(), BIAS, SpecialIds()),
            *(_QWEN_WINDOWS, Fixed({"qk_norm": "head"})),
        ),
    ),
    "gemma": Family(
        "GemmaForCausalLM",
        (
            *sizes(
                8192, "gelu_pytorch_tanh", act_meanings={"gelu": "gelu_pytorch_tanh"}
            ),  # as it was trained
            Heads(16, 256),
            Rope(),
            *_GEMMA,
            SpecialIds(2, 1, 0),
            Training(ignored=("hidden_activation",)),
        ),
        tied=True,
    ),
    "gemma2": Family(
        "Gemma2ForCausalLM",
        (
            *(
                *_GEMMA_SIZES,
                Heads(4, 256, heads=8),
                Rope(),
                *_GEMMA,
                *_SOFTCAPS,
                QueryScalar(),
                SpecialIds(2, 1, 0),
            ),
            *(
                Windows(every(2, 4096)),
                Fixed({"norm_placement": "both"}),
                Training(ignored=("cache_implementation",)),
            ),
        ),
        tied=True,
    ),
    "gemma3_text": Family(
        "Gemma3ForCausalLM",
        (
            *(
                *sizes(131_072, "gelu_pytorch_tanh", ("hidden_activation", "hidden_act"), vocab_size=262_208),
                Heads(4, 256, heads=8),
                RopeByKind(1_000_000.0, 10_000.0, "rope_local_base_freq"),
                *_GEMMA,
            ),
            Constant({"attn_logit_softcapping": None}),  # the class reads it, and never caps with it
            Number("final_logit_softcapping", "final_logit_softcapping", None),
            *(QueryScalar(), SpecialIds(2, 1, 0), Windows(every(6, 4096, "sliding_window_pattern"))),
            Fixed({"norm_placement": "both", "qk_norm": "head"}),
        ),
        tied=True,
    ),
    "phi3": Family(
        "Phi3ForCausalLM",
        (
            *(*sizes(4096), Heads(has_head_dim=False), Rope(has_partial=True, original=4096), rms(1e-5)),
            *(SpecialIds(1, 32000, 32000), Windows(one_window(None), has_layer_types=False)),
            Training(NO_DROPOUT, ignored=("attention_bias", "embed_dropout", "interpolate_factor")),
        ),
        stored.PHI3,
    ),
    "phi": Family(
        "PhiForCausalLM",
        (
            *(*sizes(2048, "gelu_new"), Heads(has_head_dim=False), Rope(partial=0.5, has_partial=True)),
            *(*layer_norm(), SpecialIds(1, 2), Constant({"qk_layernorm": False}), Training(NO_DROPOUT)),
            Fixed({**PLAIN_MLP, **BIASED, "residual": "parallel_one_norm", "head_bias": True}),
        ),
        stored.PHI,
    ),
    "olmo2": Family(
        "Olmo2ForCausalLM",
        (
            *(*sizes(2048), Heads(has_head_dim=False), Rope(), rms(1e-5), BIAS, SpecialIds(None, 50279, 1)),
            Fixed({"qk_norm": "projection", "norm_placement": "after"}),
        ),
    ),
    "olmo3": Family(
        "Olmo3ForCausalLM",
        (
            *(*sizes(2048), Heads(has_head_dim=False), RopeByKind(500_000.0, 500_000.0), rms(1e-5), BIAS),
            *(SpecialIds(None, 50279, 1), Windows(every(4, 4096))),
            Fixed({"qk_norm": "projection", "norm_placement": "after"}),
        ),
    ),
    "smollm3": Family(
        "SmolLM3ForCausalLM",
        (
            *(*sizes(32_768), Heads(kv_heads=4), Rope(2_000_000.0), rms(), BIAS),
            *(Flag(("mlp_bias",), "mlp_bias"), SpecialIds(128_000, 128_001, 128_004)),
            *(NoRopeLayers(), Windows(smollm3, has_switch=True), Training(ignored=("max_window_layers",))),
        ),
        tied=True,
    ),
    "granite": Family(
        "GraniteForCausalLM",
        (
            *(*sizes(2048), Heads(has_head_dim=False), Rope(), rms(), BIAS, Flag(("mlp_bias",), "mlp_bias")),
            *(GraniteScales(), SpecialIds(1, 2)),
        ),
    ),
    "gpt2": Family(
        "GPT2LMHeadModel",
        (
            Whole("vocab_size", ("vocab_size",)),
            Whole("hidden_size", ("n_embd", "hidden_size")),
            InnerWidth(),
            Whole("num_hidden_layers", ("n_layer", "num_hidden_layers")),
            OneKindOfHead(),
            Whole("max_position_embeddings", ("n_positions", "max_position_embeddings", "n_ctx")),
            Word("hidden_act", ("activation_function",), "gelu_new"),
            *(Number("norm_eps", "layer_norm_epsilon", 1e-5), SpecialIds(50256, 50256), Positions()),
            Fixed({"norm": "layer", **PLAIN_MLP, **BIASED}),
            Constant({"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False}),
            Constant({"add_cross_attention": False}),
            Training({"attn_pdrop": 0.0, **NO_DROPOUT, "reorder_and_upcast_attn": False}, ignored=_SUMMARY),
        ),
        stored.GPT2,
        tied=True,
    ),
    "gpt_neox": Family(
        "GPTNeoXForCausalLM",
        (
            *(*sizes(2048, "gelu"), Heads(has_head_dim=False, has_groups=False), *layer_norm()),
            SpecialIds(0, 2),
            Rope(theta_key="rotary_emb_base", partial=0.25, partial_key="rotary_pct", has_partial=True),
            *(Flag(QKV_AND_O, "attention_bias", True), Fixed(PLAIN_MLP)),
            Choice("residual", "use_parallel_residual", "serial", "parallel", True),
            Training({"hidden_dropout": 0.0}, ("classifier_dropout",)),
        ),
        stored.GPT_NEOX,
    ),
    "stablelm": Family(
        "StableLmForCausalLM",
        (
            *(*sizes(4096), Heads(kv_heads=32, has_head_dim=False), *layer_norm(), SpecialIds(0, 0)),
            *(Rope(partial=0.25, has_partial=True), Flag(("attention_bias",), "use_qkv_bias")),
            Choice("residual", "use_parallel_residual", "serial", "parallel_one_norm"),
            *(Constant({"qk_layernorm": False}), Training({"hidden_dropout": 0.0})),
        ),
    ),
    "starcoder2": Family(
        "Starcoder2ForCausalLM",
        (
            *(*sizes(4096, "gelu_pytorch_tanh"), Heads(kv_heads=2, has_head_dim=False), Rope()),
            *(*layer_norm("norm_epsilon"), SpecialIds(50256, 50256), Fixed({"gated_mlp": False})),
            Flag((*QKV_AND_O, "mlp_bias"), "use_bias", True),
            Windows(one_window(None), has_layer_types=False),
            Training({"residual_dropout": 0.0, "embedding_dropout": 0.0}, ("mlp_type", "norm_type")),
        ),
        stored.STARCODER2,
        tied=True,
    ),
    "cohere": Family(
        "CohereForCausalLM",
        (
            *(*sizes(8192), Heads(has_head_dim=False), Rope(500_000.0), *layer_norm(), BIAS),
            *(Number("logit_scale", "logit_scale", 0.0625), SpecialIds(5, 255_001, 0)),
            Fixed({"residual": "parallel_one_norm", "norm_bias": False, "rope_interleaved": True}),
            *(Constant({"use_qk_norm": False}), Training(ignored=("use_embedding_sharing",))),
        ),
        tied=True,
    ),
}
"""By model_type."""
