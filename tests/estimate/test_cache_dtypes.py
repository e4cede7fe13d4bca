"""Bytes of one stored vector, worked out by hand from the layouts, and what each format refuses to hold."""

import re

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.cache_dtypes import CACHE_DTYPES, CACHE_FORMATS, cache_format, float_bytes
from llmkit.estimate.dtypes import KV_DTYPES, STORAGE


@pytest.mark.parametrize("name", KV_DTYPES)
@pytest.mark.parametrize("head_dim", [32, 64, 128, 576])
def test_formats_without_scales_are_what_they_were(name: str, head_dim: int) -> None:
    assert cache_format(name).vector_bytes(head_dim) == head_dim * STORAGE[name].bytes_per_value


@pytest.mark.parametrize(
    ("name", "head_dim", "nbytes"),
    [
        *(("int8-token", 128, 128 + 4), ("fp8-token", 96, 96 + 4)),  # one float32 scale
        *(("nvfp4", 128, 64 + 8), ("nvfp4", 64, 32 + 4)),  # four bits, and an fp8 scale for 16 numbers
        ("mlx-4bit-g64", 128, 64 + 2 * 2 * 2),  # a 16-bit scale and a 16-bit bias for each of two groups
        ("mlx-2bit-g32", 64, 16 + 2 * 2 * 2),
        ("mlx-8bit-g128", 256, 256 + 2 * 2 * 2),
    ],
)
def test_scales_are_counted(name: str, head_dim: int, nbytes: int) -> None:
    assert cache_format(name).vector_bytes(head_dim) == nbytes


def test_mlx_takes_bits_and_32_bits_a_group() -> None:
    names = [name for name in CACHE_DTYPES if name.startswith("mlx")]
    assert len(names) == 9
    for name in names:
        bits, group = map(int, re.findall("[0-9]+", name))
        assert cache_format(name).vector_bytes(256) == 256 * (bits + 32 / group) / 8


def test_a_latent_of_deepseek_is_656_bytes_with_its_scales() -> None:
    assert cache_format("fp8_ds_mla").vector_bytes(576, latent=True) == 656
    assert cache_format("bfloat16").vector_bytes(576, latent=True) == 1152
    assert cache_format("q8_0").vector_bytes(576, latent=True) == 18 * 34


@pytest.mark.parametrize("name", CACHE_DTYPES)
def test_the_arithmetic_that_is_shown_is_the_one_that_is_done(name: str) -> None:
    one = CACHE_FORMATS[name]
    latent = one.holds == "latent"
    numbers = one.values if latent else 1152
    shown = one.describe(str(numbers)).replace("B", "").replace("x", "*")
    assert eval(shown, {"__builtins__": {}}) == one.vector_bytes(numbers, latent=latent)


@pytest.mark.parametrize(
    ("name", "numbers", "latent", "problem"),
    [
        ("fp8_ds_mla", 576, False, r"holds latent vectors \(MLA\) of 576 .*found keys and values of heads"),
        ("fp8_ds_mla", 1152, True, r"found a latent of 1152"),
        ("int8-token", 576, True, r"int8-token cache holds keys and values of heads"),
        ("nvfp4", 576, True, r"nvfp4 cache holds keys and values of heads"),
        ("mlx-4bit-g128", 576, True, r"stores 128 numbers in a block, and the latent .*found 576"),
        ("q8_0", 80, False, r"q8_0 cache stores 32 numbers .*head_dim .*found 80"),
        ("nvfp4", 72, False, r"nvfp4 cache stores 16 numbers .*found 72"),
    ],
)
def test_a_vector_that_does_not_fit_the_format_is_refused(
    name: str, numbers: int, latent: bool, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        cache_format(name).vector_bytes(numbers, latent=latent)


def test_a_misspelt_dtype_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no cache is stored as 'mlx-4bits-g64'") as caught:
        cache_format("mlx-4bits-g64")
    assert caught.value.hint.startswith("--kv-dtype mlx-4bit-g64;")


def test_a_state_is_kept_in_floats() -> None:
    assert [float_bytes(name, key="state_dtype") for name in ("float32", "float16", "bfloat16")] == [4, 2, 2]
    with pytest.raises(ConfigError, match=r"state_dtype is not a float dtype \(found 'int8'\)"):
        float_bytes("int8", key="state_dtype")
