"""Bytes of the cache of any model, all its layers together; the longest text and largest batch that fit."""

import msgspec

from llmkit.estimate.architecture import Architecture
from llmkit.estimate.bounds import require_at_least
from llmkit.estimate.cache_layers import WINDOWED, grows, held_layers
from llmkit.estimate.cache_settings import CacheSettings
from llmkit.estimate.fit import largest


class CacheBytes(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch's cache takes on one rank, in bytes."""

    total: int
    per_sequence: int
    """Of one sequence by itself."""
    per_token: int
    """What one more token takes in all layers, as long as nothing is evicted and blocks are not counted."""
    growth: int
    """The same once every window is full."""
    state: int
    """Of one sequence, whatever its length: recurrent states, convolutions and cross-attention."""
    by_kind: dict[str, int]
    """`total` by kind of layer."""


def cache_bytes(
    architecture: Architecture, settings: CacheSettings, *, context: int, batch: int = 1
) -> CacheBytes:
    """Memory of the cache on one rank, in bytes.

    Args:
        architecture: the model; only its `caches` are looked at.
        settings: how the engine keeps them.
        context: tokens kept per sequence, prompt and generated together.
        batch: sequences held at once.

    Raises:
        ConfigError: context or batch is below 1, a layer lacks a number that its kind needs, or the dtype
            does not hold what a layer keeps.

    Source: Pope et al. 2022, arXiv:2211.05102; `explain` names one for each kind of layer.
    """
    require_at_least("batch", batch, 1)
    held = held_layers(architecture, settings, context)
    by_kind: dict[str, int] = {}
    for one in held:
        by_kind[one.cache.kind] = by_kind.get(one.cache.kind, 0) + one.nbytes(batch)
    return CacheBytes(
        total=sum(by_kind.values()),
        per_sequence=sum(one.nbytes(1) for one in held),
        per_token=sum(one.layers * one.token_bytes for one in held if one.cache.kind != "cross"),
        growth=sum(one.layers * one.token_bytes for one in held if grows(one.cache, settings)),
        state=sum(one.nbytes(1) for one in held if one.cache.kind in ("state", "cross")),
        by_kind=by_kind,
    )


def contiguous_cache_bytes(architecture: Architecture, dtype: str, *, context: int, batch: int = 1) -> int:
    """What a cache in one piece (`llmkit.model.held`) takes, in bytes: `cache_bytes` where no window lets go.

    It holds every layer's whole text in one piece, that of sliding layers too. An engine that pages its cache
    keeps a window's tokens only, which is what `cache_bytes` counts where nothing else is asked for. On a CPU
    ours does, in whole blocks and whole tiles (`llmkit.engine.layer_groups`).

    Raises:
        ConfigError: as `cache_bytes`.
    """
    settings = CacheSettings(kv_dtype=dtype, window_is_full=True)
    return cache_bytes(architecture, settings, context=context, batch=batch).total


def largest_context(
    architecture: Architecture, settings: CacheSettings, room_bytes: int, *, batch: int
) -> int | None:
    """The longest text that fits: tokens of each of `batch` sequences.

    What the model was trained on is no limit here. None where no length is too long: a model of windows and
    states alone, whose windows fit when full. 0 where one token does not fit.

    Raises:
        ConfigError: as `cache_bytes`.
    """

    def fits(context: int) -> bool:
        return cache_bytes(architecture, settings, context=context, batch=batch).total <= room_bytes

    if not any(grows(cache, settings) for cache in architecture.caches):
        windows = [cache.window for cache in architecture.caches if cache.kind in WINDOWED]
        # from here on nothing grows: windows are full, and the shared prefix has left the last of them
        if fits(max(windows, default=1) + settings.shared_prefix + (settings.max_batched_tokens or 0)):
            return None
    return largest(fits)


def largest_batch(
    architecture: Architecture, settings: CacheSettings, room_bytes: int, *, context: int
) -> int | None:
    """The most sequences of `context` tokens that fit.

    None where a further sequence takes nothing: a model that keeps nothing, or a text that is all shared
    prefix. 0 where one does not fit.

    Raises:
        ConfigError: as `cache_bytes`.
    """
    first, second = (
        cache_bytes(architecture, settings, context=context, batch=batch).total for batch in (1, 2)
    )
    if first > room_bytes:
        return 0
    # every sequence after the first takes the same
    return 1 + (room_bytes - first) // (second - first) if second > first else None
