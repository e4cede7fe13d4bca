"""The cache keeps what it is given, says how much it holds, and refuses what does not fit."""

from collections.abc import Callable

import pytest
import torch

from llmkit.errors import UsageError
from llmkit.model.cache import KVCache
from llmkit.model.config import ModelConfig


@pytest.fixture
def cache(make_config: Callable[..., ModelConfig]) -> KVCache:
    """Room for two texts of six positions: 2 layers, 2 key/value heads of width 8."""
    return KVCache(make_config(num_key_value_heads=2), batch=2, capacity=6)


def _keys(length: int, value: float) -> torch.Tensor:
    return torch.full((2, 2, length, 8), value)


def test_what_is_appended_comes_back_in_order(cache: KVCache) -> None:
    for layer in cache.layers:
        layer.append(_keys(3, 1.0), _keys(3, -1.0))
    assert cache.length == 0  # until the pass is over
    cache.advance(3)
    keys, values = cache.layers[1].append(_keys(2, 2.0), _keys(2, -2.0))
    assert keys.shape == values.shape == (2, 2, 5, 8)
    assert keys[0, 1, :, 3].tolist() == [1, 1, 1, 2, 2]
    assert torch.equal(values, -keys)
    assert cache.length == 3


def test_the_bytes_reserved_are_keys_and_values_of_every_layer(
    cache: KVCache, make_config: Callable[..., ModelConfig]
) -> None:
    # K and V, 2 layers, 2 texts, 2 heads, 6 positions, 8 wide, 4 bytes each
    assert cache.nbytes == 2 * 2 * 2 * 2 * 6 * 8 * 4
    half = KVCache(make_config(num_key_value_heads=2), batch=2, capacity=6, dtype=torch.bfloat16)
    assert half.nbytes == cache.nbytes // 2
    held = half.layers[0].append(_keys(1, 1 / 3), _keys(1, 1.0))[0]
    assert held.dtype == torch.bfloat16
    assert held[0, 0, 0, 0].item() == pytest.approx(1 / 3, rel=1e-2)


def test_a_full_cache_refuses_and_keeps_what_it_has(cache: KVCache) -> None:
    layer = cache.layers[0]
    layer.append(_keys(6, 1.0), _keys(6, 1.0))
    cache.advance(6)
    with pytest.raises(UsageError, match="holds 6 positions and 7 are needed"):
        layer.append(_keys(1, 9.0), _keys(1, 9.0))
    assert (layer.length, layer.keys.max().item()) == (6, 1.0)


def test_a_rewind_forgets_what_comes_after_and_goes_only_backwards(cache: KVCache) -> None:
    layer = cache.layers[0]
    layer.append(_keys(4, 1.0), _keys(4, 1.0))
    cache.advance(4)
    cache.rewind(2)
    keys, _ = layer.append(_keys(1, 5.0), _keys(1, 5.0))
    assert keys[0, 0, :, 0].tolist() == [1, 1, 5]
    for length in (3, -1):
        with pytest.raises(UsageError, match=f"cannot rewind a cache of 2 positions to {length}"):
            cache.rewind(length)
    cache.rewind(0)
    assert cache.length == 0
