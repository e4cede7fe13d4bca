"""The sizes that every decoder has, under the keys most families share."""

from collections.abc import Callable

import msgspec

from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.families.sheet import Sheet
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import Kind

Reader = Callable[[Keys, str], Architecture]
"""Reads a family's config.json, given what stands before the names of its tensors. A module of `families` has
one for each model_type that it knows, in READERS."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """D hidden_size, V vocab_size, H heads, K kv_heads, E head_dim."""

    hidden_size: int
    vocab_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    max_positions: int | None


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What a family's class in transformers takes where config.json lacks the key."""

    max_positions: int
    kv_heads: int | None = None
    """None: as many as heads, which is also what null means."""
    head_dim: int | None = None
    """None: hidden_size / num_attention_heads, which is also what null means."""
    heads: int | None = None
    vocab_size: int | None = None
    tied: bool = False


def read_sizes(keys: Keys, defaults: Defaults) -> Sizes:
    """The sizes of a config.json.

    Raises:
        ConfigError: a key is missing or no possible size.
    """
    hidden_size = keys.whole("hidden_size")
    heads = keys.whole("num_attention_heads", default=defaults.heads)
    stated = keys.count("num_key_value_heads", defaults.kv_heads or heads)
    kv_heads = heads if keys.config.get("num_key_value_heads", 0) is None else stated
    if not kv_heads or heads % kv_heads:
        keys.wrong("num_key_value_heads", f"a divisor of num_attention_heads, {heads}")
    return Sizes(
        hidden_size=hidden_size,
        vocab_size=keys.whole("vocab_size", default=defaults.vocab_size),
        layers=keys.whole("num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=keys.optional("head_dim", defaults.head_dim) or split_heads(keys, hidden_size, heads),
        max_positions=keys.whole("max_position_embeddings", default=defaults.max_positions),
    )


def split_heads(keys: Keys, hidden_size: int, heads: int) -> int:
    """Numbers of a head where hidden_size is cut into heads."""
    if hidden_size % heads:
        keys.wrong("hidden_size", f"a multiple of the number of heads, {heads}")
    return hidden_size // heads


def plain_cache(sizes: Sizes, kind: Kind, window: int) -> LayerCache:
    """Keys and values of every kv head, all of head_dim numbers."""
    return LayerCache(
        kind=kind,
        kv_heads=sizes.kv_heads,
        key_dim=sizes.head_dim,
        value_dim=sizes.head_dim,
        window=0 if kind == "full" else window,
        query_heads=sizes.heads,
        score_dim=sizes.head_dim,
        mixed_dim=sizes.head_dim,
    )


def assemble(
    keys: Keys,
    sizes: Sizes,
    sheet: Sheet,
    caches: tuple[LayerCache, ...],
    *,
    tied: bool,
    mlp_width: int,
) -> Architecture:
    """What a family's reader has found, as an Architecture."""
    return Architecture(
        model_type=keys.word("model_type", default=""),
        hidden_size=sizes.hidden_size,
        vocab_size=sizes.vocab_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        max_position_embeddings=sizes.max_positions,
        tied_head=tied,
        dtype=keys.word("dtype", "torch_dtype", default="float32"),
        tensors=tuple(sheet.tensors),
        caches=caches,
        mlp_width=mlp_width,
    )
