"""Families most of whose layers keep a state: what each does otherwise.

Defaults are those of the classes in transformers 5.24.
"""

from functools import partial

from llmkit.estimate.families import experts
from llmkit.estimate.families.form import Form, readers
from llmkit.estimate.families.gated_delta import gated_delta
from llmkit.estimate.families.mamba_hybrid import granite_feed, mamba_layers, side_by_side
from llmkit.estimate.families.mlp import gated, lfm2
from llmkit.estimate.families.short_conv import short_conv
from llmkit.estimate.families.sizes import Defaults

_MTP = ("mtp_num_hidden_layers", "mtp_use_dedicated_embeddings")
"""Layers that predict further tokens are no part of the language model."""
_LFM2 = Defaults(max_positions=128_000, kv_heads=8, tied=True)
_LFM2_NORMS = ("operator_norm", "ffn_norm")

FORMS: dict[str, Form] = {
    "granitemoehybrid": Form(defaults=Defaults(max_positions=2048), attention=mamba_layers, mlp=granite_feed),
    "bamba": Form(
        defaults=Defaults(max_positions=262_144, kv_heads=8),
        attention=partial(mamba_layers, by_index=True),
        mlp=gated("mlp_bias", "feed_forward"),
        norms=("input_layernorm", "pre_ff_layernorm"),
        last_norm="final_layernorm",
        other_keys=("attn_rotary_emb", "z_loss_coefficient"),
    ),
    "falcon_h1": Form(
        defaults=Defaults(max_positions=8192, kv_heads=8),
        attention=side_by_side,
        mlp=gated("mlp_bias", "feed_forward"),
        norms=("input_layernorm", "pre_ff_layernorm"),
        last_norm="final_layernorm",
        other_keys=("embedding_multiplier", "lm_head_multiplier"),
    ),
    "qwen3_5_text": Form(
        defaults=Defaults(max_positions=32_768, kv_heads=4, head_dim=256),
        attention=partial(gated_delta, inputs_by_head=False),
        mlp=gated(),
        other_keys=_MTP,
    ),
    "qwen3_5_moe_text": Form(
        defaults=Defaults(max_positions=32_768, kv_heads=2, head_dim=256),
        attention=partial(gated_delta, inputs_by_head=False),
        mlp=experts.qwen_moe(shared=True),
        other_keys=_MTP,
    ),
    "lfm2": Form(
        defaults=_LFM2, attention=short_conv, mlp=lfm2, norms=_LFM2_NORMS, last_norm="embedding_norm"
    ),
    "lfm2_moe": Form(
        defaults=_LFM2, attention=short_conv, mlp=experts.lfm2, norms=_LFM2_NORMS, last_norm="embedding_norm"
    ),
}
READERS = readers(FORMS)
