"""Which keys queries look at, beside a count of them position by position."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.attended import as_read, pairs, reach
from llmkit.estimate.cache_settings import CacheSettings

FULL = LayerCache(kind="full")
SLIDING = LayerCache(kind="sliding", window=7)
CHUNKED = LayerCache(kind="chunked", window=7)
CROSS = LayerCache(kind="cross", window=7)


@pytest.mark.parametrize(
    ("cache", "looked_at"),
    [
        (FULL, lambda position: range(position + 1)),
        (LayerCache(kind="latent", latent=4), lambda position: range(position + 1)),
        (SLIDING, lambda position: range(max(0, position - 6), position + 1)),
        (CHUNKED, lambda position: range(position // 7 * 7, position + 1)),
        (CROSS, lambda position: range(7)),
    ],
)
@pytest.mark.parametrize("tokens", [1, 6, 7, 8, 14, 23])
def test_pairs_are_those_of_a_mask(cache: LayerCache, looked_at: Callable[[int], range], tokens: int) -> None:
    assert pairs(cache, tokens) == sum(len(looked_at(position)) for position in range(tokens))


def test_the_last_token_reaches_its_window_and_no_further() -> None:
    for cache in (SLIDING, CHUNKED):
        assert [reach(cache, context) for context in (1, 6, 7, 8, 1000)] == [1, 6, 7, 7, 7]
    assert [reach(FULL, context) for context in (1, 1000)] == [1, 1000]
    assert [reach(CROSS, context) for context in (1, 1000)] == [7, 7]


def test_an_encoder_of_unknown_length_is_an_error() -> None:
    unknown = LayerCache(kind="cross")
    for count in (reach, pairs):
        with pytest.raises(ConfigError, match="how many is not known") as caught:
            count(unknown, 10)
        assert caught.value.hint == "set encoder_tokens"


def test_layers_that_share_a_cache_read_as_much_as_its_owner(llama_3_8b: Architecture) -> None:
    shared = LayerCache(kind="shared")
    model = replace(llama_3_8b, caches=(FULL, shared, replace(shared, window=7), CROSS))
    assert as_read(model, CacheSettings()).caches == (FULL, FULL, SLIDING, CROSS)
    asked = as_read(model, CacheSettings(encoder_tokens=100))
    assert asked.caches == (FULL, FULL, SLIDING, replace(CROSS, window=100))
    assert asked.tensors == model.tensors
