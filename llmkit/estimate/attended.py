"""Which keys queries look at: those of the cache that a layer reads, as far as it reaches."""

from msgspec.structs import replace

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.cache_settings import CacheSettings


def as_read(architecture: Architecture, settings: CacheSettings) -> Architecture:
    """The same model, where a layer that reads another's cache has it, and the encoder's tokens are known."""

    def read(cache: LayerCache) -> LayerCache:
        if cache.kind == "shared":
            return replace(cache, kind="sliding" if cache.window else "full")
        if cache.kind == "cross" and settings.encoder_tokens:
            return replace(cache, window=settings.encoder_tokens)
        return cache

    return replace(architecture, caches=tuple(read(cache) for cache in architecture.caches))


def pairs(cache: LayerCache, tokens: int) -> int:
    """Pairs of a query and a key that it may look at, over a prompt.

    Raises:
        ConfigError: a layer of cross-attention does not know how many tokens its encoder has.
    """
    if cache.kind == "cross":
        return tokens * reach(cache, tokens)
    if cache.kind == "chunked":
        chunks, rest = divmod(tokens, cache.window)
        return chunks * _triangle(cache.window) + _triangle(rest)
    width = reach(cache, tokens)
    return _triangle(width) + (tokens - width) * width


def reach(cache: LayerCache, context: int) -> int:
    """Keys that the last of `context` tokens looks at; of a chunk, at the end of one.

    Raises:
        ConfigError: a layer of cross-attention does not know how many tokens its encoder has.
    """
    if cache.kind != "cross":
        return min(context, cache.window or context)
    if not cache.window:
        raise ConfigError(
            "a layer of cross-attention reads the encoder's tokens, and how many is not known",
            hint="set encoder_tokens",
        )
    return cache.window


def _triangle(side: int) -> int:
    return side * (side + 1) // 2
