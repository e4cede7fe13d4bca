"""Multi-head latent attention (arXiv:2405.04434): one vector a token in place of keys and values.

D hidden_size, H heads; a key has qk_nope_head_dim numbers out of the latent and qk_rope_head_dim with a
position, shared by the heads.
"""

from msgspec.structs import replace

from llmkit.estimate.architecture import LayerCache
from llmkit.estimate.families.attention import Attention
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Defaults, Sizes, read_sizes
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import no_window


def latent_sizes(keys: Keys, defaults: Defaults, *, nope: int = 128) -> Sizes:
    """head_dim is a whole key's; as published, the files have none, and transformers writes another's."""
    keys.known("qk_head_dim")
    key_dim = keys.whole("qk_nope_head_dim", default=nope) + keys.whole("qk_rope_head_dim", default=64)
    return replace(read_sizes(keys, replace(defaults, head_dim=key_dim)), head_dim=key_dim)


def lite_sizes(keys: Keys, defaults: Defaults) -> Sizes:
    """GLM-4.7-Flash's, whose class has other defaults."""
    return latent_sizes(keys, defaults, nope=192)


def latent(
    keys: Keys, sizes: Sizes, *, default_query_rank: int = 1536, default_value_dim: int = 128
) -> Attention:
    """Attention over a latent, decoded without expanding it.

    A query is multiplied into the latent space once, then meets kv_lora_rank + qk_rope_head_dim numbers of
    each token, and kv_lora_rank of them are mixed: score_dim and mixed_dim of the caches.
    """
    no_window(keys, sizes.layers)
    D, H, key_dim = sizes.hidden_size, sizes.heads, sizes.head_dim
    rotary, rank = keys.whole("qk_rope_head_dim", default=64), keys.whole("kv_lora_rank", default=512)
    value_dim = keys.whole("v_head_dim", default=default_value_dim)
    query_rank = keys.optional("q_lora_rank", default_query_rank)
    biased = keys.flag("attention_bias")

    def write(layer: Sheet, number: int) -> None:
        sheet = layer.within("self_attn.")
        if query_rank is None:
            sheet.linear("q_proj", H * key_dim, D, "q_proj", "attention")
        else:
            sheet.linear("q_a_proj", query_rank, D, "q_a_proj", "attention", bias=biased)
            sheet.norm("q_a_layernorm", query_rank)
            sheet.linear("q_b_proj", H * key_dim, query_rank, "q_b_proj", "attention")
        sheet.linear("kv_a_proj_with_mqa", rank + rotary, D, "kv_a_proj", "attention", bias=biased)
        sheet.norm("kv_a_layernorm", rank)
        sheet.linear("kv_b_proj", H * (key_dim - rotary + value_dim), rank, "kv_b_proj", "attention")
        sheet.linear("o_proj", D, H * value_dim, "o_proj", "attention", bias=biased)

    cache = LayerCache(
        kind="latent", latent=rank + rotary, query_heads=H, score_dim=rank + rotary, mixed_dim=rank
    )
    return Attention((cache,) * sizes.layers, write)
