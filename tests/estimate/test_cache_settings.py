"""How a cache is kept: what is refused, and what follows from one choice for another."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.cache_settings import CacheSettings


@pytest.mark.parametrize(
    ("kv_dtype", "conv_dtype"),
    [
        *(("bfloat16", "bfloat16"), ("float16", "float16"), ("float32", "float32")),
        *(("fp8", "bfloat16"), ("q4_0", "bfloat16"), ("int8-token", "bfloat16")),
    ],
)
def test_inputs_of_a_convolution_are_floats_beside_any_cache(kv_dtype: str, conv_dtype: str) -> None:
    assert CacheSettings(kv_dtype=kv_dtype).conv_dtype == conv_dtype


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"block_size": 0}, r"block_size is not at least 1 \(found 0\)"),
        ({"tensor_parallel": 0}, r"tensor_parallel is not at least 1"),
        ({"shared_prefix": -1}, r"shared_prefix is not at least 0"),
        ({"encoder_tokens": -1}, r"encoder_tokens is not at least 0"),
        ({"block_size": 16, "max_batched_tokens": 0}, r"max_batched_tokens is not at least 1"),
        ({"max_batched_tokens": 8}, r"block_size is not set"),
        ({"kv_dtype": "int9"}, r"no cache is stored as 'int9'"),
        ({"state_dtype": "int8"}, r"state_dtype is not a float dtype \(found 'int8'\)"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        CacheSettings(**wrong)
