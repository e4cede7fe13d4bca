"""Gemma 4's text model.

Layers that see everything have heads of their own size, and in some models one matrix for keys and values.
The last layers may read the keys and values of earlier ones. Each layer may have an embedding of its own, and
experts beside its MLP.

D hidden_size, H query heads, K key/value heads, E head_dim, L layers, P numbers of a layer's own embedding,
N experts.

Source: the class in transformers 5.24.
"""

from msgspec.structs import replace

from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.families.gemma3n import (
    shared_caches,
    write_attention,
    write_norms,
    write_own,
    write_own_table,
)
from llmkit.estimate.families.mlp import write_gated
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Defaults, Reader, Sizes, assemble, plain_cache, read_sizes
from llmkit.model.config_parts import HeadSizes
from llmkit.model.families.gemma4 import (
    ExpertSizes,
    gemma4_experts,
    gemma4_heads,
    gemma4_kinds,
    owners_of_keys,
)
from llmkit.model.keys import Keys

DEFAULTS = Defaults(max_positions=131_072, heads=8, kv_heads=4, head_dim=256, vocab_size=262_144, tied=True)


def read_gemma4(keys: Keys, prefix: str) -> Architecture:
    """The architecture of the text model of a Gemma 4.

    Raises:
        ConfigError: a key is missing or has a wrong value.
    """
    sizes = read_sizes(keys, DEFAULTS)
    D, V, L = sizes.hidden_size, sizes.vocab_size, sizes.layers
    P = keys.count("hidden_size_per_layer_input", 256)
    F, doubled = keys.whole("intermediate_size"), keys.flag("use_double_wide_mlp")
    biased, one_matrix = keys.flag("attention_bias"), keys.flag("attention_k_eq_v")
    tied, experts = keys.flag("tie_word_embeddings", True), gemma4_experts(keys)
    caches = _caches(keys, sizes)
    shared = [cache.kind == "shared" for cache in caches]
    widths = [2 * F if doubled and reads else F for reads in shared]

    sheet = Sheet(prefix or "model.")
    sheet.tensor("embed_tokens.weight", (V, D), "embed_tokens", "embeddings")
    write_own_table(sheet, keys, L, D, P)
    for number, (width, cache) in enumerate(zip(widths, caches, strict=True)):
        layer = sheet.within(f"layers.{number}.", number)
        values = not (one_matrix and not cache.window)
        write_attention(layer.within("self_attn."), D, cache, biased, values=values)
        write_gated(layer, "mlp", D, width)
        write_norms(layer, D)
        layer.tensor("layer_scalar", (1,), "other", "norms", learnt=False)
        if P:
            write_own(layer, D, P)
        if experts is not None:
            _write_experts(layer, D, experts)
    sheet.norm("norm", D)
    if not tied:
        Sheet(tensors=sheet.tensors).linear("lm_head", V, D, "lm_head", "head")
    used = 0 if experts is None else experts.used * experts.width
    return assemble(keys, sizes, sheet, caches, tied=tied, mlp_width=max(*widths, used))


def _caches(keys: Keys, sizes: Sizes) -> tuple[LayerCache, ...]:
    """What each layer keeps; the last num_kv_shared_layers read what an earlier one of their kind has."""
    kinds, window = gemma4_kinds(keys, sizes.layers)
    owners = owners_of_keys(keys, kinds)
    heads = gemma4_heads(keys, kinds, HeadSizes(sizes.kv_heads, sizes.head_dim), sizes.heads)
    caches = [
        plain_cache(replace(sizes, kv_heads=one.num_key_value_heads, head_dim=one.head_dim), kind, window)
        for one, kind in zip(heads, kinds, strict=True)
    ]
    return shared_caches(caches, owners)


def _write_experts(layer: Sheet, hidden: int, experts: ExpertSizes) -> None:
    count, width = experts.number, experts.width
    layer.tensor("router.scale", (hidden,), "other", "router")
    layer.tensor("router.per_expert_scale", (count,), "other", "router")
    layer.linear("router.proj", count, hidden, "router", "router")
    for name, shape in (("gate_up_proj", (2 * width, hidden)), ("down_proj", (hidden, width))):
        stack = (count, *shape)
        layer.tensor(f"experts.{name}", stack, name, "experts", linear=True, active=experts.used / count)
    for norm in ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2"):
        layer.norm(norm, hidden)
    layer.norm("pre_feedforward_layernorm_2", hidden)


READERS: dict[str, Reader] = {"gemma4_text": read_gemma4}
