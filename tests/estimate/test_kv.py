"""The key/value cache: textbook rows to the byte, and what the model's own cache allocates."""

from dataclasses import replace
from pathlib import Path

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.dtypes import STORAGE
from llmkit.estimate.kv import KVShape, kv_bytes_per_value, kv_cache_bytes
from llmkit.formats.model_folder import read_config
from llmkit.model.config import ModelConfig
from llmkit.model.presets import PRESETS

LLAMA_3_8B = KVShape(num_hidden_layers=32, num_key_value_heads=8, head_dim=128)


def test_llama_3_8b_takes_128_kib_per_token() -> None:
    # K and V, 32 layers, 8 key/value heads, head_dim 128, 2 bytes each
    assert kv_cache_bytes(LLAMA_3_8B, batch=1, context=1) == 2 * 32 * 8 * 128 * 2 == 128 * 1024


@pytest.mark.parametrize(
    ("layers", "kv_heads", "head_dim", "per_token", "at_32768"),
    [
        (12, 12, 64, 36_864, 1_207_959_552),  # GPT-2
        (32, 32, 128, 524_288, 17_179_869_184),  # Llama-2-7B: multi-head
        (40, 40, 128, 819_200, 26_843_545_600),  # Llama-2-13B
        (80, 8, 128, 327_680, 10_737_418_240),  # Llama-2-70B and Llama-3-70B: grouped-query
        (32, 8, 128, 131_072, 4_294_967_296),  # Llama-3-8B
        (16, 8, 64, 32_768, 1_073_741_824),  # Llama-3.2-1B
        (30, 3, 64, 23_040, 754_974_720),  # SmolLM2-135M
        (28, 4, 128, 57_344, 1_879_048_192),  # Qwen2.5-7B
        (28, 8, 128, 114_688, 3_758_096_384),  # Qwen3-0.6B
        (36, 8, 128, 147_456, 4_831_838_208),  # Qwen3-8B
        (32, 1, 64, 8_192, 268_435_456),  # Falcon-7B: multi-query
    ],
)
def test_well_known_models_take_what_is_published(
    layers: int, kv_heads: int, head_dim: int, per_token: int, at_32768: int
) -> None:
    shape = KVShape(num_hidden_layers=layers, num_key_value_heads=kv_heads, head_dim=head_dim)
    assert kv_cache_bytes(shape, batch=1, context=1) == per_token
    assert kv_cache_bytes(shape, batch=1, context=32_768) == at_32768


@pytest.mark.parametrize(
    "folder",
    [
        *("Llama-2-7B", "Llama-2-70B", "Llama-3-8B", "Llama-3-70B", "Llama-3.1-8B", "Llama-3.1-70B"),
        *("Llama-3.2-1B-Instruct", "Mistral-7B-Instruct-v0.3", "Qwen2.5-7B-Instruct"),
        *("Qwen3-0.6B", "Qwen3-8B"),
    ],
)
def test_real_configs_take_what_is_expected_of_them(shared_data: Path, folder: str) -> None:
    expected = read_config(shared_data / "configs" / "expected.json")[folder]
    config = ModelConfig.from_hf(read_config(shared_data / "configs" / folder))
    assert kv_cache_bytes(config, batch=1, context=1) == expected["kv_bytes_per_token_16bit"]
    for context in (8192, 32_768):
        assert kv_cache_bytes(config, batch=1, context=context) == expected[f"kv_bytes_16bit_at_{context}"]


@pytest.mark.parametrize("name", ["tiny", "nanogpt-cpu", "stories15m", "gpt2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_models_own_cache_reserves_just_that(name: str, dtype: str) -> None:
    import torch

    from llmkit.model.cache import KVCache

    config = PRESETS[name]
    each = kv_bytes_per_value(dtype, config.head_dim)
    cache = KVCache(config, batch=3, capacity=37, dtype=getattr(torch, dtype), device="meta")
    assert cache.nbytes == kv_cache_bytes(config, batch=3, context=37, bytes_per_value=each)


@pytest.mark.parametrize(
    ("dtype", "per_token"),
    [("float32", 262_144), ("int8", 65_536), ("int4", 32_768), ("q8_0", 69_632), ("q4_0", 36_864)],
)
def test_llama_3_8b_is_kept_in_other_dtypes(dtype: str, per_token: int) -> None:
    each = kv_bytes_per_value(dtype, LLAMA_3_8B.head_dim)
    assert kv_cache_bytes(LLAMA_3_8B, batch=1, context=1, bytes_per_value=each) == per_token


def test_a_token_is_whole_bytes_in_every_dtype() -> None:
    shape = KVShape(num_hidden_layers=1, num_key_value_heads=1, head_dim=32)
    for dtype in STORAGE:
        each = kv_bytes_per_value(dtype, 32)
        token = kv_cache_bytes(shape, batch=1, context=1, bytes_per_value=each)
        assert kv_cache_bytes(shape, batch=7, context=11, bytes_per_value=each) == 77 * token


def test_no_digit_is_lost_where_floats_would_lose_it() -> None:
    huge = 10**15 + 1
    assert kv_cache_bytes(LLAMA_3_8B, batch=1, context=huge) == 131_072 * huge
    assert kv_cache_bytes(LLAMA_3_8B, batch=1, context=huge, bytes_per_value=34 / 32) == 69_632 * huge


def test_a_head_that_is_not_whole_blocks_is_refused() -> None:
    assert kv_bytes_per_value("q8_0", 96) == 34 / 32
    with pytest.raises(ConfigError, match=r"q8_0 cache stores 32 numbers .*found 80"):
        kv_bytes_per_value("q8_0", 80)
    with pytest.raises(ConfigError, match=r"int4 cache stores 2 numbers .*found 7"):
        kv_bytes_per_value("int4", 7)


@pytest.mark.parametrize("wrong", [{"batch": 0, "context": 1}, {"batch": 1, "context": 0}])
def test_an_empty_cache_is_no_question(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"is not at least 1 \(found 0\)"):
        kv_cache_bytes(LLAMA_3_8B, **wrong)


@pytest.mark.parametrize("name", ["num_hidden_layers", "num_key_value_heads", "head_dim"])
def test_a_shape_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        replace(LLAMA_3_8B, **{name: 0})
