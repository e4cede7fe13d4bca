"""Families of Llama's shape with experts, most of them in place of the MLP: what each does otherwise.

Defaults are those of the classes in transformers 5.24.
"""

from functools import partial

from msgspec.structs import replace

from llmkit.estimate.families import experts
from llmkit.estimate.families.attention import HUNYUAN, separate
from llmkit.estimate.families.form import Form, readers
from llmkit.estimate.families.gated_delta import gated_delta
from llmkit.estimate.families.latent import latent, latent_sizes, lite_sizes
from llmkit.estimate.families.sizes import Defaults
from llmkit.model.layer_kinds import dots1, every, llama4, odd_before_max_window_layers, one_window

_BIASED = "attention_bias"
_DEEPSEEK = Form(sizes=latent_sizes, attention=latent, defaults=Defaults(max_positions=2048))

_MINIMAX_KEYS = (
    *("num_mtp_modules", "mtp_transformer_layers", "use_mtp", "shared_moe_mode", "qk_norm_type"),
    *("use_qk_norm", "use_routing_bias", "shared_intermediate_size", "rotary_dim"),
)
_HUNYUAN_KEYS = (
    *("use_qk_norm", "attention_head_dim", "org_vocab_size", "mlp_bias", "num_media_embeds"),
    *("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "use_cla"),
    *("cla_share_factor", "moe_layer_num_skipped", "use_mixed_mlp_moe"),
)

FORMS: dict[str, Form] = {
    "mixtral": Form(
        defaults=Defaults(max_positions=131_072, kv_heads=8),
        attention=separate(kinds=one_window(None)),
        mlp=experts.mixtral,
    ),
    "qwen2_moe": Form(
        defaults=Defaults(max_positions=32_768, kv_heads=16),
        attention=separate(kinds=odd_before_max_window_layers, qkv_bias=("qkv_bias", True)),
        mlp=experts.qwen_moe(shared=True),
    ),
    "qwen3_moe": Form(
        defaults=Defaults(max_positions=32_768, kv_heads=4),
        attention=separate(
            kinds=one_window(4096, used=False),
            qkv_bias=_BIASED,
            output_bias=_BIASED,
            head_norm="head",
        ),
        mlp=experts.qwen_moe(shared=False),
        other_keys=("max_window_layers",),
    ),
    "qwen3_next": Form(
        defaults=Defaults(max_positions=32_768, kv_heads=2, head_dim=256),
        attention=partial(gated_delta, inputs_by_head=True),
        mlp=experts.qwen_moe(shared=True),
    ),
    "olmoe": Form(
        defaults=Defaults(max_positions=4096),
        attention=separate(qkv_bias=_BIASED, output_bias=_BIASED, head_norm="width"),
        mlp=experts.olmoe,
    ),
    "deepseek_v2": replace(_DEEPSEEK, mlp=experts.deepseek(first_dense=0, shared=2)),
    "deepseek_v3": replace(
        _DEEPSEEK, mlp=experts.deepseek(first_dense=3, shared=1), defaults=Defaults(max_positions=4096)
    ),
    "dots1": Form(
        defaults=Defaults(max_positions=2048, kv_heads=32),
        attention=separate(kinds=dots1, qkv_bias=_BIASED, output_bias=_BIASED, head_norm="head"),
        mlp=experts.deepseek(first_dense=0, shared=0),
    ),
    "glm4_moe": Form(
        defaults=Defaults(max_positions=131_072, kv_heads=8),
        attention=separate(qkv_bias=_BIASED, head_norm="head", head_norm_switch="use_qk_norm"),
        mlp=experts.deepseek(first_dense=1, shared=1),
    ),
    "glm4_moe_lite": Form(
        sizes=lite_sizes,
        attention=partial(latent, default_query_rank=768, default_value_dim=256),
        mlp=experts.deepseek(first_dense=1, shared=1),
        defaults=Defaults(max_positions=202_752),
    ),
    "ernie4_5_moe": Form(
        defaults=Defaults(max_positions=131_072, kv_heads=4, tied=True),
        attention=separate(),
        mlp=experts.ernie,
        other_keys=("use_bias", "moe_capacity"),
    ),
    "minimax_m2": Form(
        defaults=Defaults(max_positions=196_608, kv_heads=8, head_dim=128),
        attention=separate(head_norm="width"),
        mlp=experts.mixtral,
        other_keys=_MINIMAX_KEYS,
    ),
    "granitemoe": Form(
        defaults=Defaults(max_positions=2048),
        attention=separate(qkv_bias=_BIASED, output_bias=_BIASED),
        mlp=experts.granite,
    ),
    "hunyuan_v1_moe": Form(
        defaults=Defaults(max_positions=2048),
        attention=HUNYUAN,
        mlp=experts.hunyuan,
        other_keys=_HUNYUAN_KEYS,
    ),
    "gpt_oss": Form(
        defaults=Defaults(max_positions=131_072, kv_heads=8, head_dim=64),
        attention=separate(
            kinds=every(2, 128),
            qkv_bias=(_BIASED, True),
            output_bias=(_BIASED, True),
            sinks=True,
        ),
        mlp=experts.gpt_oss,
    ),
    "llama4_text": Form(
        defaults=Defaults(max_positions=131_072, kv_heads=8, head_dim=128),
        attention=separate(kinds=llama4, qkv_bias=_BIASED, output_bias=_BIASED),
        mlp=experts.llama4,
        other_keys=("use_qk_norm",),  # it has no weights
    ),
}
READERS = readers(FORMS)
