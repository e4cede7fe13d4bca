"""What layers keep of a text: full, sliding and chunked attention, latents, states, cross-attention.

Of a sequence of T tokens a layer keeps, in tokens (w its window, B a block, M tokens of a batch):

    full, latent    T              rounded up to whole blocks where blocks are set
    sliding         min(T, w)      the same; with M what vLLM reserves: ceil(min(w - 1 + M, T) / B) + 1 blocks
    chunked         min(T, w)      the same; with M: ceil(min(w + M, T) / B) blocks
    cross           the encoder's tokens
    state           none: numbers that do not grow with the text
    shared          none: another layer's are read

Everything is counted in whole numbers: a token of a layer is whole bytes in every format.
"""

from collections import Counter

import msgspec

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.bounds import require_at_least
from llmkit.estimate.cache_dtypes import cache_format, float_bytes
from llmkit.estimate.cache_settings import CacheSettings

WINDOWED = ("sliding", "chunked")
"""Kinds of layers that look at a part of the text only."""


class HeldLayers(msgspec.Struct, frozen=True, kw_only=True):
    """What layers that are all alike keep, each of them and on one rank."""

    cache: LayerCache
    layers: int
    token_bytes: int
    stored: int
    """Tokens of one sequence."""
    shared: int
    """Of these, tokens that the whole batch keeps once."""
    recurrent_bytes: int
    conv_bytes: int

    def nbytes(self, batch: int) -> int:
        """Of all these layers, for `batch` sequences."""
        tokens = self.shared + batch * (self.stored - self.shared)
        return self.layers * (self.token_bytes * tokens + batch * (self.recurrent_bytes + self.conv_bytes))


def held_layers(architecture: Architecture, settings: CacheSettings, context: int) -> list[HeldLayers]:
    """What each sort of layer keeps of one sequence, in the order in which the model has them first.

    Raises:
        ConfigError: as `cache_bytes`.
    """
    require_at_least("context", context, 1)
    return [_held(cache, count, settings, context) for cache, count in Counter(architecture.caches).items()]


def whole_blocks(tokens: int, block_size: int | None) -> int:
    """Tokens that the pages of `tokens` tokens hold."""
    return tokens if block_size is None else -(-tokens // block_size) * block_size


def is_windowed(cache: LayerCache, settings: CacheSettings) -> bool:
    """Whether the layer lets go of tokens outside its window."""
    return cache.kind in WINDOWED and not settings.window_is_full


def grows(cache: LayerCache, settings: CacheSettings) -> bool:
    """Whether the layer keeps something of every token, however long the text."""
    return cache.kind in ("full", "latent") or (cache.kind in WINDOWED and settings.window_is_full)


def _held(cache: LayerCache, layers: int, settings: CacheSettings, context: int) -> HeldLayers:
    _require_known(cache, settings)
    stored = _stored_tokens(cache, settings, context)
    state_bytes = float_bytes(settings.state_dtype, key="state_dtype")
    conv_bytes = float_bytes(settings.conv_dtype, key="kv_dtype")
    return HeldLayers(
        cache=cache,
        layers=layers,
        token_bytes=_token_bytes(cache, settings),
        stored=stored,
        shared=_shared_tokens(cache, settings, context, stored),
        recurrent_bytes=_of_rank(cache.recurrent, settings) * state_bytes,
        conv_bytes=_of_rank(cache.conv, settings) * conv_bytes,
    )


def _token_bytes(cache: LayerCache, settings: CacheSettings) -> int:
    """Of one token, in one layer, on one rank."""
    stored_as = cache_format(settings.kv_dtype)
    if cache.kind in ("state", "shared"):
        return 0
    if cache.kind == "latent":
        return stored_as.vector_bytes(cache.latent, latent=True)  # every rank's heads need all of it
    key_and_value = stored_as.vector_bytes(cache.key_dim) + stored_as.vector_bytes(cache.value_dim)
    return _of_rank(cache.kv_heads, settings) * key_and_value


def _stored_tokens(cache: LayerCache, settings: CacheSettings, context: int) -> int:
    """Tokens of one sequence for which the layer takes memory."""
    if cache.kind in ("state", "shared"):
        return 0
    if cache.kind == "cross":
        return whole_blocks(settings.encoder_tokens or cache.window, settings.block_size)
    if not is_windowed(cache, settings):
        return whole_blocks(context, settings.block_size)
    if settings.max_batched_tokens is None or settings.block_size is None:
        return whole_blocks(min(context, cache.window), settings.block_size)
    if cache.kind == "chunked":
        return whole_blocks(min(cache.window + settings.max_batched_tokens, context), settings.block_size)
    tokens = min(cache.window - 1 + settings.max_batched_tokens, context)
    # a window may start inside a block
    return whole_blocks(tokens, settings.block_size) + settings.block_size


def _shared_tokens(cache: LayerCache, settings: CacheSettings, context: int, stored: int) -> int:
    """Of the stored tokens, those of the shared prefix, in whole blocks.

    What is reserved is each sequence's own, and so are an encoder's tokens: of its picture or recording.
    """
    windowed = is_windowed(cache, settings)
    if cache.kind == "cross" or (windowed and settings.max_batched_tokens is not None):
        return 0
    gone = max(0, context - cache.window) if windowed else 0
    kept = max(0, settings.shared_prefix - gone)
    return min(stored, kept - kept % (settings.block_size or 1))


def _of_rank(count: int, settings: CacheSettings) -> int:
    """Heads, or numbers of a state, of the fullest rank: one head at least, so that none stands idle."""
    return -(-count // settings.tensor_parallel)


_NEEDED = {
    "full": ("kv_heads", "key_dim", "value_dim"),
    "sliding": ("kv_heads", "key_dim", "value_dim", "window"),
    "chunked": ("kv_heads", "key_dim", "value_dim", "window"),
    "cross": ("kv_heads", "key_dim", "value_dim"),
    "latent": ("latent",),
    "state": (),
    "shared": (),
}


def _require_known(cache: LayerCache, settings: CacheSettings) -> None:
    for name in _NEEDED[cache.kind]:
        if getattr(cache, name) < 1:
            raise ConfigError(
                f"{name} of a {cache.kind} layer is not known (found {getattr(cache, name)})",
                hint="the model's config.json has to say it",
            )
    if cache.kind == "cross" and not (settings.encoder_tokens or cache.window):
        raise ConfigError(
            "a layer of cross-attention keeps the encoder's tokens, and how many is not known",
            hint="set encoder_tokens",
        )
    if cache.kind == "state" and not (cache.recurrent or cache.conv):
        raise ConfigError(
            "the numbers of a layer's state are not known (recurrent and conv are 0)",
            hint="the model's config.json has to say its linear_* or mamba keys",
        )
