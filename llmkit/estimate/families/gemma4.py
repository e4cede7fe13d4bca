"""Gemma 4's text model.

Layers that see everything have heads of their own size, and in some models one matrix for keys and values.
The last layers may read the keys and values of earlier ones. Each layer may have an embedding of its own, and
experts beside its MLP.

D hidden_size, H query heads, K key/value heads, E head_dim, L layers, P numbers of a layer's own embedding,
N experts.

Source: the class in transformers 5.24.
"""

from collections.abc import Mapping, Sequence

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
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import Kind, every

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
    tied, experts = keys.flag("tie_word_embeddings", True), _experts(keys)
    caches = _caches(keys, sizes, one_matrix=one_matrix)
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
            _write_experts(layer, D, *experts)
    sheet.norm("norm", D)
    if not tied:
        Sheet(tensors=sheet.tensors).linear("lm_head", V, D, "lm_head", "head")
    used = 0 if experts is None else experts[1] * experts[2]
    return assemble(keys, sizes, sheet, caches, tied=tied, mlp_width=max(*widths, used))


def _experts(keys: Keys) -> tuple[int, int, int] | None:
    """How many there are, how many a token uses, and their width."""
    if not keys.flag("enable_moe_block"):
        keys.known("num_experts", "top_k_experts", "moe_intermediate_size")
        return None
    count, used = keys.whole("num_experts"), keys.whole("top_k_experts")
    if used > count:
        keys.wrong("top_k_experts", f"at most the number of experts, {count}")
    return count, used, keys.whole("moe_intermediate_size")


def _caches(keys: Keys, sizes: Sizes, *, one_matrix: bool) -> tuple[LayerCache, ...]:
    """What each layer keeps; the last num_kv_shared_layers read what an earlier one of their kind has."""
    kinds, window = every(6, 512)(keys, sizes.layers)
    kinds = (*kinds[:-1], "full")  # the class sees to it that the last sees everything
    caches = [
        plain_cache(one, kind, window)
        for one, kind in zip(_sizes_of_layers(keys, sizes, kinds, one_matrix=one_matrix), kinds, strict=True)
    ]
    return shared_caches(keys, kinds, caches, 0)


def _sizes_of_layers(keys: Keys, sizes: Sizes, kinds: Sequence[Kind], *, one_matrix: bool) -> list[Sizes]:
    """With the heads of each layer: published files say those of layers that see everything, and transformers
    writes them layer by layer."""
    head_dim, kv_heads = keys.optional("global_head_dim"), keys.optional("num_global_key_value_heads")
    of_full = {"head_dim": head_dim or 512, "num_key_value_heads": kv_heads if one_matrix else None}
    told, is_told = _told(keys), "per_layer_config" in keys.config
    found = []
    for layer, kind in enumerate(kinds):
        own = told.get(layer, {}) if is_told else of_full if kind == "full" else {}
        inner = Keys(own, f"{keys.source}: per_layer_config {layer}")
        width = inner.whole("head_dim", default=sizes.head_dim)
        count = inner.whole("num_key_value_heads", default=sizes.kv_heads)
        if sizes.heads % count:
            inner.wrong("num_key_value_heads", f"a divisor of num_attention_heads, {sizes.heads}")
        found.append(replace(sizes, head_dim=width, kv_heads=count))
    return found


def _told(keys: Keys) -> dict[int, Mapping[str, object]]:
    """What per_layer_config says, by the number of the layer, which is filled up with zeros there: 05."""
    told = keys.object("per_layer_config")
    if not all(name.isdigit() and isinstance(one, Mapping) for name, one in told.items()):
        keys.wrong("per_layer_config", "an object of objects, by the numbers of layers")
    return {int(name): one for name, one in told.items()}


def _write_experts(layer: Sheet, hidden: int, count: int, used: int, width: int) -> None:
    layer.tensor("router.scale", (hidden,), "other", "router")
    layer.tensor("router.per_expert_scale", (count,), "other", "router")
    layer.linear("router.proj", count, hidden, "router", "router")
    for name, shape in (("gate_up_proj", (2 * width, hidden)), ("down_proj", (hidden, width))):
        stack = (count, *shape)
        layer.tensor(f"experts.{name}", stack, name, "experts", linear=True, active=used / count)
    for norm in ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2"):
        layer.norm(norm, hidden)
    layer.norm("pre_feedforward_layernorm_2", hidden)


READERS: dict[str, Reader] = {"gemma4_text": read_gemma4}
