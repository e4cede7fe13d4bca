"""The attention of a layer: its tensors, and what it keeps of a text.

D hidden_size, H query heads, K key/value heads, E head_dim.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from llmkit.estimate.architecture import LayerCache
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Sizes, plain_cache
from llmkit.model.keys import Keys, Switch
from llmkit.model.layer_kinds import KindsRule, no_window

HeadNorm = Literal["head", "width", "stack", "each"]
"""A norm of q and k: one of E numbers for all heads, one of H * E, one of (H, E), or H of E each."""


class Attention(msgspec.Struct, frozen=True):
    """The attention of all layers."""

    caches: tuple[LayerCache, ...]
    write: Callable[[Sheet, int], None]
    """Writes the tensors of a layer, given its sheet and number."""


AttentionRule = Callable[[Keys, Sizes], Attention]


def separate(
    *,
    kinds: KindsRule = no_window,
    qkv_bias: Switch = False,
    output_bias: Switch = False,
    head_norm: HeadNorm | None = None,
    head_norm_switch: Switch = True,
    head_norm_names: tuple[str, str] = ("q_norm", "k_norm"),
    head_norm_bias: bool = False,
    output: str = "o_proj",
    sinks: bool = False,
) -> AttentionRule:
    """q, k, v and output matrices of their own."""

    def rule(keys: Keys, sizes: Sizes) -> Attention:
        biased, out_biased = keys.switch(qkv_bias), keys.switch(output_bias)
        normed = head_norm if keys.switch(head_norm_switch) else None
        D, H, K, E = sizes.hidden_size, sizes.heads, sizes.kv_heads, sizes.head_dim

        def write(layer: Sheet, number: int) -> None:
            sheet = layer.within("self_attn.")
            for name, heads in (("q_proj", H), ("k_proj", K), ("v_proj", K)):
                sheet.linear(name, heads * E, D, name, "attention", bias=biased)
            sheet.linear(output, D, H * E, "o_proj", "attention", bias=out_biased)
            if sinks:
                sheet.tensor("sinks", (H,), "sinks", "attention")
            for name, heads in zip(head_norm_names, (H, K), strict=True):
                _head_norm(sheet, name, normed, heads, E, head_norm_bias)

        return Attention(plain_caches(keys, sizes, kinds), write)

    return rule


HUNYUAN = separate(
    qkv_bias="attention_bias",
    output_bias="attention_bias",
    head_norm="head",
    head_norm_names=("query_layernorm", "key_layernorm"),
)
"""Of HunYuan's dense models and mixtures alike."""


def fused(kinds: KindsRule) -> AttentionRule:
    """One matrix for q, k and v (Phi-3), without biases."""

    def rule(keys: Keys, sizes: Sizes) -> Attention:
        D, H, K, E = sizes.hidden_size, sizes.heads, sizes.kv_heads, sizes.head_dim

        def write(layer: Sheet, number: int) -> None:
            layer.linear("self_attn.qkv_proj", (H + 2 * K) * E, D, "qkv_proj", "attention")
            layer.linear("self_attn.o_proj", D, H * E, "o_proj", "attention")

        return Attention(plain_caches(keys, sizes, kinds), write)

    return rule


def plain_caches(keys: Keys, sizes: Sizes, kinds: KindsRule) -> tuple[LayerCache, ...]:
    """Keys and values of each layer, as far back as the rule says."""
    of_layers, window = kinds(keys, sizes.layers)
    return tuple(plain_cache(sizes, kind, window) for kind in of_layers)


def _head_norm(sheet: Sheet, name: str, form: HeadNorm | None, heads: int, head_dim: int, bias: bool) -> None:
    match form:
        case "head":
            sheet.norm(name, head_dim, bias=bias)
        case "width":
            sheet.norm(name, heads * head_dim, bias=bias)
        case "stack":
            sheet.norm(name, heads, head_dim, bias=bias)
        case "each":
            sheet.norm(f"{name}.norms.*", head_dim, bias=bias, copies=heads)
