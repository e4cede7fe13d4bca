"""Families with LayerNorm, most of them older or of a plain MLP."""

from llmkit.model.families import stored
from llmkit.model.families.family import (
    BIAS,
    BIASED,
    NO_DROPOUT,
    PLAIN_MLP,
    QKV_AND_O,
    Family,
    layer_norm,
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
from llmkit.model.families.rope import Rope
from llmkit.model.families.windows import PositionsOfWindows, Windows
from llmkit.model.layer_kinds import every, one_window

_SUMMARY = (
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
)
"""Of GPT-2's classes for other tasks."""

_COHERE_FILES = (
    *("use_embedding_sharing", "use_parallel_embedding", "use_parallel_block", "use_gated_activation"),
    *("order_of_interleaved_layers", "layer_switch", "position_embedding_type", "rotary_pct"),
    "cache_implementation",
)
"""In published files, and read by no class."""
_COHERE = {"residual": "parallel_one_norm", "norm_bias": False, "rope_interleaved": True}

LAYER_NORM: dict[str, Family] = {
    "phi": Family(
        "PhiForCausalLM",
        (
            *(*sizes(2048, "gelu_new"), Heads(has_head_dim=False), Rope(partial=0.5, has_partial=True)),
            *(*layer_norm(), SpecialIds(1, 2), Constant({"qk_layernorm": False}), Training(NO_DROPOUT)),
            Fixed({**PLAIN_MLP, **BIASED, "residual": "parallel_one_norm", "head_bias": True}),
        ),
        stored.PHI,
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
            *(Fixed(_COHERE), Constant({"use_qk_norm": False}), Training(ignored=("use_embedding_sharing",))),
        ),
        tied=True,
    ),
    "cohere2": Family(
        "Cohere2ForCausalLM",
        (
            *(*sizes(8192), Heads(has_head_dim=False), Rope(), *layer_norm(), BIAS),
            *(Number("logit_scale", "logit_scale", 0.0625), SpecialIds(5, 255_001, 0)),
            *(Windows(every(4, 4096, "sliding_window_pattern")), PositionsOfWindows(always=True)),
            *(Fixed(_COHERE), Training(ignored=(*_COHERE_FILES, "use_qk_norm", "head_dim"))),
        ),
        tied=True,
    ),
    "nemotron": Family(
        "NemotronForCausalLM",
        (
            *(*sizes(4096, "relu2"), Heads(), Rope(partial=0.5, has_partial=True), *layer_norm("norm_eps")),
            *(BIAS, Flag(("mlp_bias",), "mlp_bias"), SpecialIds(2, 3)),
            Fixed({"norm_plus_one": True, "gated_mlp": False}),
        ),
    ),
}
"""By model_type."""
