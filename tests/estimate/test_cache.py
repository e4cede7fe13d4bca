"""Bytes of caches: textbook rows to the byte, what vLLM reserves, and searches beside brute force.

The rows' numbers were worked out from each model's config outside this package.
"""

from itertools import product
from typing import Any

import pytest
from msgspec.structs import replace

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.cache import cache_bytes, contiguous_cache_bytes, largest_batch, largest_context
from llmkit.estimate.cache_settings import CacheSettings
from llmkit.estimate.dtypes import KV_DTYPES, STORAGE
from llmkit.model.presets import PRESETS
from tests.estimate.cached import model_of

PLAIN = CacheSettings()
GIB = 2**30


def heads(kv_heads: int, head_dim: int, window: int = 0, kind: str = "") -> LayerCache:
    """Full attention, or with a window sliding."""
    found: Any = kind or ("sliding" if window else "full")
    return LayerCache(kind=found, kv_heads=kv_heads, key_dim=head_dim, value_dim=head_dim, window=window)


def alternating(layers: int, period: int, kv_heads: int, head_dim: int, window: int) -> Architecture:
    """Every period-th layer is full, the others slide."""
    return model_of(heads(kv_heads, head_dim, window if (i + 1) % period else 0) for i in range(layers))


GPT_2 = model_of([heads(12, 64)] * 12)
LLAMA_3_8B = model_of([heads(8, 128)] * 32)
MISTRAL_7B = model_of([heads(8, 128, window=4096)] * 32)
GEMMA_2_2B = alternating(26, 2, 4, 256, window=4096)
GEMMA_3_27B = alternating(62, 6, 16, 128, window=1024)
LATENT = LayerCache(kind="latent", latent=512 + 64, query_heads=128)
DEEPSEEK_V3 = model_of([LATENT] * 61)
# 32 value heads and 16 key heads of 128, a convolution over 4 tokens that keeps 3
DELTA_NET = LayerCache(kind="state", recurrent=32 * 128 * 128, conv=(2 * 16 * 128 + 32 * 128) * 3)
QWEN3_NEXT = model_of([DELTA_NET, DELTA_NET, DELTA_NET, heads(2, 256)] * 12)
# 35 layers, every fifth full; the last 15 read the caches of others
GEMMA_3N = model_of(
    [heads(2, 256, 0 if i % 5 == 4 else 512) if i < 20 else LayerCache(kind="shared") for i in range(35)]
)


@pytest.mark.parametrize(
    ("caches", "per_token", "at_32768"),
    [
        pytest.param(GPT_2, 36_864, 1_207_959_552, id="GPT-2"),
        pytest.param(model_of([heads(32, 128)] * 32), 524_288, 17_179_869_184, id="Llama-2-7B"),
        pytest.param(model_of([heads(40, 128)] * 40), 819_200, 26_843_545_600, id="Llama-2-13B"),
        pytest.param(model_of([heads(8, 128)] * 80), 327_680, 10_737_418_240, id="Llama-70B"),
        pytest.param(LLAMA_3_8B, 131_072, 4_294_967_296, id="Llama-3-8B, Mixtral-8x7B"),
        pytest.param(model_of([heads(8, 64)] * 16), 32_768, 1_073_741_824, id="Llama-3.2-1B"),
        pytest.param(model_of([heads(3, 64)] * 30), 23_040, 754_974_720, id="SmolLM2-135M"),
        pytest.param(MISTRAL_7B, 131_072, 536_870_912, id="Mistral-7B-v0.1"),
        pytest.param(model_of([heads(4, 128)] * 28), 57_344, 1_879_048_192, id="Qwen2.5-7B"),
        pytest.param(model_of([heads(8, 128)] * 28), 114_688, 3_758_096_384, id="Qwen3-0.6B"),
        pytest.param(model_of([heads(8, 128)] * 36), 147_456, 4_831_838_208, id="Qwen3-8B"),
        pytest.param(model_of([heads(4, 128)] * 48), 98_304, 3_221_225_472, id="Qwen3-30B-A3B"),
        pytest.param(model_of([heads(1, 64)] * 32), 8_192, 268_435_456, id="Falcon-7B"),
        pytest.param(GEMMA_2_2B, 106_496, 1_962_934_272, id="Gemma-2-2B"),
        pytest.param(alternating(42, 2, 8, 256, 4096), 344_064, 6_341_787_648, id="Gemma-2-9B"),
        pytest.param(alternating(26, 6, 1, 256, 512), 26_624, 145_752_064, id="Gemma-3-1B"),
        pytest.param(alternating(24, 2, 8, 64, 128), 49_152, 808_452_096, id="gpt-oss-20b"),
        pytest.param(DEEPSEEK_V3, 70_272, 2_302_672_896, id="DeepSeek-V3"),
        pytest.param(GEMMA_3N, 20 * 2 * 2 * 256 * 2, 285_212_672, id="Gemma-3n-E4B"),
    ],
)
def test_well_known_models_take_what_is_published(
    caches: Architecture, per_token: int, at_32768: int
) -> None:
    held = cache_bytes(caches, PLAIN, context=32_768)
    assert held.per_token == per_token
    assert held.total == held.per_sequence == sum(held.by_kind.values()) == at_32768
    assert held.state == 0


@pytest.mark.parametrize("caches", [GPT_2, LLAMA_3_8B])
@pytest.mark.parametrize("dtype", KV_DTYPES)
def test_the_textbook_formula_says_the_same_of_plain_models(caches: Architecture, dtype: str) -> None:
    first, storage = caches.caches[0], STORAGE[dtype]
    for context, batch in ((1, 1), (37, 3), (32_768, 16), (10**15 + 1, 7)):  # where floats would lose digits
        values = 2 * len(caches.caches) * first.kv_heads * first.key_dim * batch * context
        held = cache_bytes(caches, CacheSettings(kv_dtype=dtype), context=context, batch=batch)
        assert held.total * storage.values == values * storage.nbytes


def test_a_gated_delta_net_keeps_a_state_of_one_size() -> None:
    elements = 36 * DELTA_NET.recurrent, 36 * DELTA_NET.conv
    assert elements == (18_874_368, 884_736)
    sixteen_bits = CacheSettings(state_dtype="bfloat16")
    for context in (1, 32_768):
        held = cache_bytes(QWEN3_NEXT, sixteen_bits, context=context)
        assert held.state == held.by_kind["state"] == 39_518_208
        assert held.by_kind["full"] == 24_576 * context
        assert cache_bytes(QWEN3_NEXT, PLAIN, context=context).state == 77_266_944  # float32, conv in 16 bits
    assert cache_bytes(QWEN3_NEXT, PLAIN, context=9, batch=5).by_kind["state"] == 5 * 77_266_944


def test_inputs_of_a_convolution_are_not_quantised() -> None:
    conv = 884_736
    for dtype, each in (("float32", 4), ("float16", 2), ("fp8", 2), ("q4_0", 2)):
        held = cache_bytes(QWEN3_NEXT, CacheSettings(kv_dtype=dtype), context=1)
        assert held.state == 18_874_368 * 4 + conv * each


@pytest.mark.parametrize(
    ("dtype", "per_token"),
    [
        *(("q8_0", 69_632), ("q4_0", 36_864), ("fp8", 65_536), ("float32", 262_144)),
        # a float32 scale for the key and one for the value, in 32 layers of 8 heads
        *(("int8-token", 65_536 + 32 * 2 * 8 * 4), ("fp8-token", 65_536 + 32 * 2 * 8 * 4)),
        ("nvfp4", 32 * 2 * 8 * (64 + 8)),
        # (bits + 32 / group) / 8 bytes a number: 4.5 bits and 8.25
        *(("mlx-4bit-g64", 65_536 * 9 // 16), ("mlx-8bit-g128", 65_536 * 33 // 32)),
    ],
)
def test_llama_3_8b_is_kept_in_other_dtypes(dtype: str, per_token: int) -> None:
    for context in (1, 8192):
        held = cache_bytes(LLAMA_3_8B, CacheSettings(kv_dtype=dtype), context=context, batch=3)
        assert (held.per_token, held.total) == (per_token, 3 * context * per_token)


def test_deepseek_v3_is_kept_in_other_dtypes() -> None:
    sparse = cache_bytes(DEEPSEEK_V3, CacheSettings(kv_dtype="fp8_ds_mla"), context=1)
    assert sparse.per_token == 61 * 656 == 40_016
    assert cache_bytes(DEEPSEEK_V3, CacheSettings(kv_dtype="fp8"), context=1).per_token == 61 * 576
    # what the same heads would take expanded: 128 keys of 128 + 64, and 128 values of 128
    expanded = LayerCache(kind="full", kv_heads=128, key_dim=128 + 64, value_dim=128)
    assert cache_bytes(model_of([expanded] * 61), PLAIN, context=1).per_token == 4_997_120


def test_pages_are_whole() -> None:
    paged = CacheSettings(block_size=16)
    assert cache_bytes(LLAMA_3_8B, paged, context=8193).total == 513 * 16 * 131_072 == 1_075_838_976
    assert cache_bytes(LLAMA_3_8B, paged, context=8192).total == 8192 * 131_072
    assert cache_bytes(LLAMA_3_8B, paged, context=1, batch=3).total == 3 * 16 * 131_072
    assert cache_bytes(LLAMA_3_8B, paged, context=1).per_token == 131_072


def test_mistral_is_held_with_its_window_and_without() -> None:
    kept = CacheSettings(window_is_full=True)
    assert cache_bytes(MISTRAL_7B, PLAIN, context=8192).total == 536_870_912
    assert cache_bytes(MISTRAL_7B, kept, context=8192).total == 1_073_741_824
    assert cache_bytes(MISTRAL_7B, PLAIN, context=1).growth == 0
    assert cache_bytes(MISTRAL_7B, kept, context=1).growth == 131_072
    assert cache_bytes(GEMMA_2_2B, PLAIN, context=1).growth == 106_496 // 2


@pytest.mark.parametrize("name", ["tiny", "tiny-moe", "nanogpt-cpu", "stories15m", "gpt2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_models_own_cache_reserves_just_that(name: str, dtype: str) -> None:
    import torch

    from tests.model.kv_cache import KVCache

    config = PRESETS[name]
    cache = KVCache(config, batch=3, capacity=37, dtype=getattr(torch, dtype), device="meta")
    assert cache.nbytes == contiguous_cache_bytes(architecture_of(config), dtype, context=37, batch=3)


def test_a_cache_in_one_piece_keeps_what_windows_do_not_see() -> None:
    assert contiguous_cache_bytes(MISTRAL_7B, "bfloat16", context=8192, batch=2) == 2 * 1_073_741_824
    assert contiguous_cache_bytes(GEMMA_2_2B, "bfloat16", context=8192) == 8192 * 106_496
    assert contiguous_cache_bytes(DEEPSEEK_V3, "float32", context=3) == 3 * 2 * 70_272


def test_vllm_reserves_more_for_a_window_than_the_window() -> None:
    reserved = CacheSettings(block_size=16, max_batched_tokens=8192)
    assert cache_bytes(GEMMA_3_27B, reserved, context=131_072).total == 14_670_102_528
    assert cache_bytes(GEMMA_3_27B, PLAIN, context=131_072).total == 11_173_625_856
    # 100 tokens are all there are: 7 blocks, and one more because a window may start inside a block
    page = 16 * 2 * 16 * 128 * 2
    assert cache_bytes(model_of([heads(16, 128, window=1024)]), reserved, context=100).total == 8 * page


@pytest.mark.parametrize(
    ("ranks", "per_token"), [(1, 131_072), (2, 65_536), (3, 49_152), (8, 16_384), (16, 16_384), (64, 16_384)]
)
def test_heads_are_split_over_ranks_and_copied_where_ranks_are_more(ranks: int, per_token: int) -> None:
    # 8 heads: 4, 3, 1 and never less than 1 on a rank
    settings = CacheSettings(tensor_parallel=ranks)
    assert cache_bytes(LLAMA_3_8B, settings, context=1).per_token == per_token
    assert cache_bytes(LLAMA_3_8B, settings, context=100, batch=2).total == 200 * per_token


def test_latents_are_on_every_rank_and_states_are_split() -> None:
    split = CacheSettings(tensor_parallel=8)
    assert cache_bytes(DEEPSEEK_V3, split, context=1).per_token == 70_272
    assert cache_bytes(QWEN3_NEXT, split, context=1).state == 77_266_944 // 8


def test_a_shared_prefix_is_kept_once() -> None:
    settings = CacheSettings(shared_prefix=1000)
    # 4 sequences: 1,000 tokens once, 500 more of each
    assert cache_bytes(LLAMA_3_8B, settings, context=1500, batch=4).total == (1000 + 4 * 500) * 131_072
    # whole blocks are shared: 62 of 16 tokens; 1,500 tokens take 94 blocks
    paged = replace(settings, block_size=16)
    assert cache_bytes(LLAMA_3_8B, paged, context=1500, batch=4).total == (62 + 4 * 32) * 16 * 131_072
    # a text inside the prefix is all shared
    assert cache_bytes(LLAMA_3_8B, settings, context=300, batch=4).total == 300 * 131_072
    # a window of 4,096 has let go of the first 904 tokens of 5,000: 96 of the prefix are left
    assert cache_bytes(MISTRAL_7B, settings, context=5000, batch=4).total == (96 + 4 * 4000) * 131_072
    assert cache_bytes(MISTRAL_7B, settings, context=9000, batch=4).total == 4 * 4096 * 131_072
    # each sequence has its own state, and its own reservation
    assert cache_bytes(QWEN3_NEXT, settings, context=1000, batch=4).total == 24_576_000 + 4 * 77_266_944
    reserved = replace(paged, max_batched_tokens=64)
    assert cache_bytes(MISTRAL_7B, reserved, context=9000, batch=4).total == 4 * 261 * 16 * 131_072


def test_a_batch_keeps_the_tokens_that_a_count_of_them_finds() -> None:
    for context, prefix, window, batch in product(range(1, 16), range(14), (3, 8, 20), (1, 2, 5)):
        kept = {
            (0 if position < prefix else sequence, position)
            for sequence in range(1, batch + 1)
            for position in range(max(0, context - window), context)
        }
        settings = CacheSettings(shared_prefix=prefix)
        held = cache_bytes(model_of([heads(1, 1, window=window)]), settings, context=context, batch=batch)
        assert held.total == 4 * len(kept)


@pytest.mark.parametrize("caches", [LLAMA_3_8B, GEMMA_2_2B, QWEN3_NEXT, DEEPSEEK_V3, GEMMA_3N])
@pytest.mark.parametrize("block_size", [None, 16, 48])
def test_one_sequence_shares_with_no_one(caches: Architecture, block_size: int | None) -> None:
    for prefix, context in product((0, 1, 100, 5000), (1, 99, 4097, 6000)):
        settings = CacheSettings(shared_prefix=prefix, block_size=block_size)
        alone = cache_bytes(caches, replace(settings, shared_prefix=0), context=context)
        held = cache_bytes(caches, settings, context=context)
        assert held == alone
        assert held.per_sequence == cache_bytes(caches, settings, context=context, batch=3).per_sequence


def test_cross_attention_keeps_the_encoders_tokens() -> None:
    whisper = [heads(8, 64), heads(8, 64, window=1500, kind="cross")]
    held = cache_bytes(model_of(whisper * 6), PLAIN, context=448)
    assert held.by_kind == {"full": 6 * 448 * 2048, "cross": 6 * 1500 * 2048}
    assert (held.per_token, held.growth, held.state) == (6 * 2048, 6 * 2048, 6 * 1500 * 2048)
    asked = CacheSettings(encoder_tokens=100, block_size=16)
    assert cache_bytes(model_of(whisper), asked, context=16).by_kind == {
        "full": 16 * 2048,
        "cross": 112 * 2048,
    }
    with pytest.raises(ConfigError, match="encoder's tokens, and how many is not known"):
        cache_bytes(model_of([heads(8, 64, kind="cross")]), PLAIN, context=1)


SMALL = [
    model_of([heads(2, 4)] * 3),
    model_of([heads(2, 4), heads(2, 4, window=7)]),
    model_of(
        [heads(1, 4), heads(2, 4, window=9, kind="chunked"), LayerCache(kind="state", recurrent=5, conv=3)]
    ),
    model_of([LayerCache(kind="latent", latent=6), LayerCache(kind="shared")]),
]
SMALL_SETTINGS = [
    PLAIN,
    CacheSettings(block_size=4),
    CacheSettings(block_size=4, shared_prefix=10),
    CacheSettings(shared_prefix=10, tensor_parallel=2),
    CacheSettings(block_size=3, max_batched_tokens=5, shared_prefix=4),
    CacheSettings(window_is_full=True, kv_dtype="int8"),
]


@pytest.mark.parametrize("caches", SMALL)
@pytest.mark.parametrize("settings", SMALL_SETTINGS)
def test_the_largest_context_and_batch_are_what_trying_them_all_finds(
    caches: Architecture, settings: CacheSettings
) -> None:
    def fit(room: int, context: int, batch: int) -> bool:
        return cache_bytes(caches, settings, context=context, batch=batch).total <= room

    for room, batch in product((-1, 0, 40, 333, 1000, 1777), (1, 3)):
        longest = max((number for number in range(1, 300) if fit(room, number, batch)), default=0)
        assert largest_context(caches, settings, room, batch=batch) == longest
    for room, context in product((0, 333, 1777), (1, 8, 21)):
        found = largest_batch(caches, settings, room, context=context)
        if found is not None:
            assert found == max((n for n in range(1, 300) if fit(room, context, n)), default=0)
        else:
            assert fit(room, context, 10**9)


@pytest.mark.parametrize("settings", SMALL_SETTINGS)
@pytest.mark.parametrize("caches", SMALL)
def test_a_longer_text_never_takes_less(caches: Architecture, settings: CacheSettings) -> None:
    for batch in (1, 3):
        totals = [cache_bytes(caches, settings, context=n, batch=batch).total for n in range(1, 60)]
        assert totals == sorted(totals)


def test_windows_and_states_alone_have_no_longest_text() -> None:
    bounded = model_of([heads(2, 4, window=50), DELTA_NET])
    state = DELTA_NET.recurrent * 4 + DELTA_NET.conv * 2
    full = state + 50 * 32
    assert largest_context(bounded, PLAIN, full, batch=1) is None
    assert largest_context(bounded, PLAIN, full - 1, batch=1) == 49
    assert largest_context(bounded, PLAIN, state, batch=1) == 0
    # four sequences share what of the prefix is in the window, until it has left the window
    shared = CacheSettings(shared_prefix=20)
    assert largest_context(bounded, shared, 4 * full, batch=4) is None
    assert largest_context(bounded, shared, 4 * full - 1, batch=4) == 69
    assert largest_context(bounded, CacheSettings(window_is_full=True), full + 32, batch=1) == 51
    assert largest_context(model_of([]), PLAIN, 0, batch=1) is None
    two = model_of([heads(2, 4, window=50), heads(2, 4, window=20)])  # the longer one fills last
    assert largest_context(two, PLAIN, (50 + 20) * 32, batch=1) is None
    assert largest_context(two, PLAIN, (40 + 20) * 32, batch=1) == 40


def test_reserved_windows_are_full_later() -> None:
    reserved = CacheSettings(block_size=2, max_batched_tokens=10)
    window = model_of([heads(2, 4, window=7)])  # 16 tokens at most: 8 blocks and one more
    assert largest_context(window, reserved, 9 * 2 * 32, batch=1) is None
    assert largest_context(window, reserved, 9 * 2 * 32 - 1, batch=1) == 14


def test_all_sequences_fit_where_a_further_one_takes_nothing() -> None:
    same = CacheSettings(shared_prefix=100)
    assert largest_batch(LLAMA_3_8B, same, 100 * 131_072, context=100) is None
    assert largest_batch(LLAMA_3_8B, same, 100 * 131_072 - 1, context=100) == 0
    assert largest_batch(LLAMA_3_8B, same, 103 * 131_072, context=101) == 3


def test_large_rooms_are_filled_to_the_last_token() -> None:
    room = 72 * 10**9 - 16_060_522_496  # an H100's 80 GB at 0.9, less Llama-3-8B in 16 bits
    assert largest_batch(LLAMA_3_8B, PLAIN, room, context=8192) == 52
    longest = largest_context(LLAMA_3_8B, PLAIN, room, batch=1)
    assert longest == room // 131_072
    assert largest_context(LLAMA_3_8B, CacheSettings(block_size=16), room, batch=1) == longest // 16 * 16


@pytest.mark.parametrize("wrong", [{"context": 0}, {"context": 1, "batch": 0}])
def test_an_empty_cache_is_no_question(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"is not at least 1 \(found 0\)"):
        cache_bytes(LLAMA_3_8B, PLAIN, **wrong)
