"""Families of Llama's shape, without experts: what each does otherwise.

Defaults are those of the classes in transformers 5.24.
"""

from msgspec.structs import replace

from llmkit.estimate.families.attention import HUNYUAN, fused, separate
from llmkit.estimate.families.form import Form, readers
from llmkit.estimate.families.mlp import gated, gated_fused, learnt_curve, two_matrices
from llmkit.estimate.families.sizes import Defaults
from llmkit.model.layer_kinds import (
    after_max_window_layers,
    every,
    exaone4,
    one_window,
    smollm3,
)

_FOUR_NORMS = (
    *("input_layernorm", "post_attention_layernorm"),
    *("pre_feedforward_layernorm", "post_feedforward_layernorm"),
)
_LAYERNORMS = ("q_layernorm", "k_layernorm")
_AFTER = ("post_attention_layernorm", "post_feedforward_layernorm")  # OLMo 2 normalises what a branch gives
_BIASED = "attention_bias"
_GEMMA = Defaults(max_positions=8192, kv_heads=16, head_dim=256, tied=True)
_GEMMA_2 = Defaults(max_positions=8192, heads=8, kv_heads=4, head_dim=256, vocab_size=256_000, tied=True)
_GEMMA_3 = replace(_GEMMA_2, max_positions=131_072, vocab_size=262_208)
_COHERE_KEYS = ("use_embedding_sharing", "order_of_interleaved_layers")  # of the published files only
_COHERE = Defaults(max_positions=8192, tied=True)
_GLM = Form(
    defaults=Defaults(max_positions=131_072, kv_heads=2, head_dim=128),
    attention=separate(qkv_bias=(_BIASED, True)),
    mlp=gated_fused,
)

FORMS: dict[str, Form] = {
    "llama": Form(
        defaults=Defaults(max_positions=2048),
        attention=separate(qkv_bias=_BIASED, output_bias=_BIASED),
        mlp=gated(bias="mlp_bias"),
    ),
    "mistral": Form(
        defaults=Defaults(max_positions=131_072, kv_heads=8),
        attention=separate(kinds=one_window(4096)),
    ),
    "qwen2": Form(
        defaults=Defaults(max_positions=32_768, kv_heads=32),
        attention=separate(kinds=after_max_window_layers, qkv_bias=True),
        other_keys=("attention_bias",),
    ),
    "qwen3": Form(
        defaults=Defaults(max_positions=32_768, kv_heads=32, head_dim=128),
        attention=separate(
            kinds=after_max_window_layers, qkv_bias=_BIASED, output_bias=_BIASED, head_norm="head"
        ),
    ),
    "gemma": Form(
        defaults=_GEMMA,
        attention=separate(qkv_bias=_BIASED, output_bias=_BIASED),
    ),
    "gemma2": Form(
        defaults=_GEMMA_2,
        attention=separate(kinds=every(2, 4096), qkv_bias=_BIASED, output_bias=_BIASED),
        norms=_FOUR_NORMS,
    ),
    "gemma3_text": Form(
        defaults=_GEMMA_3,
        attention=separate(
            kinds=every(6, 4096, "sliding_window_pattern"),
            qkv_bias=_BIASED,
            output_bias=_BIASED,
            head_norm="head",
        ),
        norms=_FOUR_NORMS,
    ),
    "phi3": Form(
        defaults=Defaults(max_positions=4096),
        attention=fused(one_window(None)),
        mlp=gated_fused,
        other_keys=("attention_bias",),  # in the published files, read by no class
    ),
    "phi": Form(
        defaults=Defaults(max_positions=2048),
        attention=separate(
            qkv_bias=True,
            output_bias=True,
            head_norm="head",
            head_norm_switch="qk_layernorm",
            head_norm_names=_LAYERNORMS,
            head_norm_bias=True,
            output="dense",
        ),
        mlp=two_matrices("fc1", "fc2", True),
        norms=("input_layernorm",),
        last_norm="final_layernorm",
        norm_bias=True,
        head_bias=True,
    ),
    "stablelm": Form(
        defaults=Defaults(max_positions=4096, kv_heads=32),
        attention=separate(
            qkv_bias="use_qkv_bias",
            head_norm="each",
            head_norm_switch="qk_layernorm",
            head_norm_names=_LAYERNORMS,
        ),
        norm_bias=True,
        no_second_norm="use_parallel_residual",
    ),
    "olmo": Form(
        defaults=Defaults(max_positions=2048),
        attention=separate(qkv_bias=_BIASED, output_bias=_BIASED),
        norms=(),  # they have no weights
        last_norm=None,
    ),
    "olmo2": Form(
        defaults=Defaults(max_positions=2048),
        attention=separate(qkv_bias=_BIASED, output_bias=_BIASED, head_norm="width"),
        norms=_AFTER,
    ),
    "olmo3": Form(
        defaults=Defaults(max_positions=2048),
        attention=separate(kinds=every(4, 4096), qkv_bias=_BIASED, output_bias=_BIASED, head_norm="width"),
        norms=_AFTER,
    ),
    "smollm3": Form(
        defaults=Defaults(max_positions=32_768, kv_heads=4, tied=True),
        attention=separate(kinds=smollm3, qkv_bias=_BIASED, output_bias=_BIASED),
        mlp=gated(bias="mlp_bias"),
        other_keys=("max_window_layers",),
    ),
    "granite": Form(
        defaults=Defaults(max_positions=2048),
        attention=separate(qkv_bias=_BIASED, output_bias=_BIASED),
        mlp=gated(bias="mlp_bias"),
    ),
    "cohere": Form(
        defaults=_COHERE,
        attention=separate(
            qkv_bias=_BIASED, output_bias=_BIASED, head_norm="stack", head_norm_switch="use_qk_norm"
        ),
        norms=("input_layernorm",),
        other_keys=_COHERE_KEYS,
    ),
    "cohere2": Form(
        defaults=_COHERE,
        attention=separate(
            kinds=every(4, 4096, "sliding_window_pattern"), qkv_bias=_BIASED, output_bias=_BIASED
        ),
        norms=("input_layernorm",),
        other_keys=_COHERE_KEYS,
    ),
    "starcoder2": Form(
        defaults=Defaults(max_positions=4096, kv_heads=2, tied=True),
        attention=separate(
            kinds=one_window(None), qkv_bias=("use_bias", True), output_bias=("use_bias", True)
        ),
        mlp=two_matrices("c_fc", "c_proj", ("use_bias", True)),
        norm_bias=True,
    ),
    "ministral3": Form(
        defaults=Defaults(max_positions=262_144, kv_heads=8, head_dim=128),
        attention=separate(kinds=one_window(None)),
    ),
    "hunyuan_v1_dense": Form(
        defaults=Defaults(max_positions=2048),
        attention=HUNYUAN,
        other_keys=("use_qk_norm", "attention_head_dim", "org_vocab_size", "mlp_bias"),
    ),
    "arcee": Form(
        defaults=Defaults(max_positions=4096),
        attention=separate(qkv_bias=_BIASED, output_bias=_BIASED),
        mlp=two_matrices("up_proj", "down_proj", "mlp_bias"),
    ),
    "apertus": Form(
        defaults=Defaults(max_positions=65_536),
        attention=separate(qkv_bias=_BIASED, output_bias=_BIASED, head_norm="head"),
        mlp=learnt_curve,
        norms=("attention_layernorm", "feedforward_layernorm"),
        other_keys=("qk_norm", "post_norm", "mlp_bias"),
    ),
    "seed_oss": Form(
        defaults=Defaults(max_positions=524_288, kv_heads=8, head_dim=128),
        attention=separate(qkv_bias=(_BIASED, True), output_bias="attention_out_bias"),
        mlp=gated(bias="mlp_bias"),
    ),
    "helium": Form(
        defaults=Defaults(max_positions=4096, kv_heads=20, head_dim=128),
        attention=separate(qkv_bias=_BIASED),
        mlp=gated(bias="mlp_bias"),
    ),
    "ernie4_5": Form(
        defaults=Defaults(max_positions=131_072, kv_heads=2, head_dim=128, tied=True),
        attention=separate(qkv_bias="use_bias", output_bias="use_bias"),
        mlp=gated(bias="use_bias"),
    ),
    "glm": _GLM,
    "glm4": replace(
        _GLM,
        norms=(
            *("input_layernorm", "post_attention_layernorm"),
            *("post_self_attn_layernorm", "post_mlp_layernorm"),
        ),
    ),
    "exaone4": Form(
        defaults=Defaults(max_positions=2048, kv_heads=32),
        attention=separate(kinds=exaone4, head_norm="head"),
        norms=_AFTER,
    ),
    "nemotron": Form(
        defaults=Defaults(max_positions=4096),
        attention=separate(qkv_bias=_BIASED, output_bias=_BIASED),
        mlp=two_matrices("up_proj", "down_proj", "mlp_bias"),
        norm_bias=True,
    ),
}
READERS = readers(FORMS)
