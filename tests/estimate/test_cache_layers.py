"""What layers keep: tokens counted block by block, what vLLM reserves of a window, and the bytes of each."""

from itertools import product

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import LayerCache
from llmkit.estimate.cache_layers import HeldLayers, grows, held_layers, is_windowed, whole_blocks
from llmkit.estimate.cache_settings import CacheSettings
from tests.estimate.cached import model_of

PLAIN = CacheSettings()
RESERVED = CacheSettings(block_size=16, max_batched_tokens=2048)
FULL = LayerCache(kind="full", kv_heads=8, key_dim=192, value_dim=128)
SLIDING = LayerCache(kind="sliding", kv_heads=4, key_dim=64, value_dim=64, window=30)
CHUNKED = LayerCache(kind="chunked", kv_heads=8, key_dim=128, value_dim=128, window=8192)
LATENT = LayerCache(kind="latent", latent=512 + 64)
STATE = LayerCache(kind="state", recurrent=1000, conv=30)
CROSS = LayerCache(kind="cross", kv_heads=8, key_dim=64, value_dim=64, window=1500)
SHARED = LayerCache(kind="shared", window=512)


def one(cache: LayerCache, settings: CacheSettings, context: int) -> HeldLayers:
    """What a single layer keeps."""
    (held,) = held_layers(model_of([cache]), settings, context)
    return held


def test_layers_alike_are_one_sort_in_the_order_of_the_model() -> None:
    kept = held_layers(model_of([SLIDING, FULL, SLIDING, STATE, SLIDING]), PLAIN, 100)
    assert [(held.cache, held.layers) for held in kept] == [(SLIDING, 3), (FULL, 1), (STATE, 1)]
    assert held_layers(model_of([]), PLAIN, 100) == []


@pytest.mark.parametrize(
    ("cache", "token_bytes", "stored"),
    [
        (FULL, 2 * 8 * (192 + 128), 100),
        (SLIDING, 2 * 2 * 4 * 64, 30),
        (CHUNKED, 2 * 2 * 8 * 128, 100),
        (LATENT, 2 * 576, 100),
        (CROSS, 2 * 2 * 8 * 64, 1500),
        (STATE, 0, 0),
        (SHARED, 0, 0),
    ],
)
def test_a_layer_keeps_the_bytes_of_a_token_as_often_as_its_kind_says(
    cache: LayerCache, token_bytes: int, stored: int
) -> None:
    held = one(cache, PLAIN, 100)
    assert (held.token_bytes, held.stored, held.shared) == (token_bytes, stored, 0)


def test_a_state_is_in_float32_and_its_convolution_in_16_bits() -> None:
    held = one(STATE, PLAIN, 1)
    assert (held.recurrent_bytes, held.conv_bytes) == (4 * 1000, 2 * 30)
    held = one(STATE, CacheSettings(kv_dtype="fp8", state_dtype="bfloat16", tensor_parallel=3), 1)
    assert (held.recurrent_bytes, held.conv_bytes) == (2 * 334, 2 * 10)  # a third, rounded up


@pytest.mark.parametrize("block_size", [1, 3, 16])
def test_a_number_of_tokens_takes_the_blocks_that_counting_them_fills(block_size: int) -> None:
    for tokens in range(50):
        blocks = {position // block_size for position in range(tokens)}
        assert whole_blocks(tokens, block_size) == len(blocks) * block_size
        assert whole_blocks(tokens, None) == tokens


def test_a_window_that_is_no_whole_number_of_pages_takes_whole_ones() -> None:
    assert one(SLIDING, CacheSettings(block_size=16), 500).stored == 32


def test_vllm_reserves_a_window_one_step_and_a_block_for_where_it_starts() -> None:
    assert one(SLIDING, RESERVED, 10**6).stored == (-(-(30 - 1 + 2048) // 16) + 1) * 16 == 2096
    assert one(SLIDING, RESERVED, 100).stored == (7 + 1) * 16


def test_vllm_reserves_a_chunk_and_what_one_step_adds() -> None:
    assert one(CHUNKED, RESERVED, 10**6).stored == 8192 + 2048
    assert one(CHUNKED, RESERVED, 100).stored == 7 * 16
    assert one(CHUNKED, PLAIN, 10**6).stored == 8192


def test_of_a_prefix_a_window_shares_what_it_has_not_let_go_of() -> None:
    for context, prefix in product(range(1, 60), (0, 1, 25, 40)):
        window = range(max(0, context - 30), context)
        held = one(SLIDING, CacheSettings(shared_prefix=prefix), context)
        assert held.shared == sum(position < prefix for position in window)
    assert one(FULL, CacheSettings(shared_prefix=40, block_size=16), 100).shared == 32


def test_what_is_reserved_and_an_encoders_tokens_are_each_sequences_own() -> None:
    reserved = CacheSettings(block_size=16, max_batched_tokens=64, shared_prefix=64)
    assert one(SLIDING, reserved, 100).shared == one(CROSS, reserved, 100).shared == 0
    assert one(FULL, reserved, 100).shared == 64


def test_layers_take_the_shared_tokens_once_and_the_rest_for_each_sequence() -> None:
    held = HeldLayers(
        cache=FULL, layers=3, token_bytes=10, stored=100, shared=40, recurrent_bytes=7, conv_bytes=1
    )
    assert held.nbytes(1) == 3 * (100 * 10 + 8)
    assert held.nbytes(5) == 3 * (40 * 10 + 5 * 60 * 10 + 5 * 8)


def test_windows_grow_only_where_the_engine_evicts_nothing() -> None:
    kept = CacheSettings(window_is_full=True)
    every = (FULL, LATENT, SLIDING, CHUNKED, STATE, CROSS, SHARED)
    assert [cache for cache in every if grows(cache, PLAIN)] == [FULL, LATENT]
    assert [cache for cache in every if grows(cache, kept)] == [FULL, LATENT, SLIDING, CHUNKED]
    assert [cache for cache in every if is_windowed(cache, PLAIN)] == [SLIDING, CHUNKED]
    assert not any(is_windowed(cache, kept) for cache in every)
    assert one(SLIDING, kept, 100).stored == 100


@pytest.mark.parametrize(
    ("cache", "problem"),
    [
        (LayerCache(kind="full", kv_heads=1, key_dim=1), "value_dim of a full layer is not known"),
        (
            LayerCache(kind="sliding", kv_heads=1, key_dim=1, value_dim=1),
            "window of a sliding layer is not known",
        ),
        (LayerCache(kind="latent"), "latent of a latent layer is not known"),
        (LayerCache(kind="state"), "numbers of a layer's state are not known"),
        (
            LayerCache(kind="cross", kv_heads=1, key_dim=1, value_dim=1),
            "encoder's tokens, and how many is not known",
        ),
    ],
)
def test_a_layer_that_lacks_a_number_is_refused(cache: LayerCache, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        one(cache, PLAIN, 1)
