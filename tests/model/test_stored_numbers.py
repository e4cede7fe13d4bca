"""Weights in numpy are rounded as torch rounds them, bit for bit."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.stored_numbers import ARRAY_DTYPES, as_dtype, as_float32, dtype_name_of, kept_dtype_name

ALL_16_BITS = np.arange(1 << 16, dtype=np.uint16)
LIMITS = np.array(
    [
        *(0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 65504.0, 65519.9, 65520.0, -65520.0),
        *(np.finfo("f4").max, np.finfo("f4").tiny, np.finfo("f4").smallest_subnormal, 2.0**-24, 2.0**-25),
        *(2.0**-25 * 1.5, 6.1e-5, 3.38953139e38, 3.4e38),
    ],
    np.float32,
)


def numbers(dtype: str) -> NDArray[Any]:
    """Every bfloat16 or float16; of float32 some of each size, and those that lie between two of both."""
    if dtype != "float32":
        return ALL_16_BITS.view(ARRAY_DTYPES[dtype])
    random = np.random.default_rng(0).integers(0, 1 << 32, 200_000, dtype=np.uint32)
    upper = ALL_16_BITS.astype(np.uint32) << np.uint32(16)
    bf16_ties = np.concatenate([upper | np.uint32(low) for low in (0x7FFF, 0x8000, 0x8001, 0xFFFF)])
    halves = ALL_16_BITS.view(np.float16).astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        f16_ties = (halves[:-1] + halves[1:]) * np.float32(0.5)
        beside = np.concatenate([np.nextafter(f16_ties, np.float32(end)) for end in (-np.inf, np.inf)])
    return np.concatenate([LIMITS, random.view("f4"), bf16_ties.view("f4"), f16_ties, beside])


def as_torch(array: NDArray[Any]) -> Tensor:
    if array.dtype == np.uint16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def bits(array: NDArray[Any]) -> NDArray[Any]:
    return array.view(f"u{array.itemsize}")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="raise"):  # a warning of numpy's would reach whoever loads a model
        yield


@pytest.mark.parametrize(("have", "want"), list(permutations(ARRAY_DTYPES, 2)))
def test_every_number_becomes_what_torch_makes_of_it(have: str, want: str) -> None:
    values = numbers(have)
    found = as_dtype(values, want)
    expected = as_torch(values).to(getattr(torch, want))
    assert found.dtype == ARRAY_DTYPES[want] and found.shape == values.shape
    is_nan = expected.isnan().numpy()
    assert np.array_equal(as_torch(found).isnan().numpy(), is_nan)  # which of them a NaN becomes is free
    theirs = expected.view(torch.int16 if expected.itemsize == 2 else torch.int32).numpy()
    assert np.array_equal(bits(found)[~is_nan], bits(theirs)[~is_nan])


def test_numbers_of_the_dtype_asked_for_are_not_copied() -> None:
    for name, dtype in ARRAY_DTYPES.items():
        values = np.zeros((2, 3), dtype)
        assert as_dtype(values, name) is values
    floats = np.zeros(3, np.float32)
    assert as_float32(floats) is floats


def test_shapes_are_kept_with_neighbours_apart_and_without_any_number() -> None:
    values = np.arange(200_000, dtype=np.float32).reshape(2, 100, 1000)
    whole = np.array(2.5, np.float32)
    for part in (values[:, ::3, ::2], values.swapaxes(1, 2), values[0, 0, 0:0], whole):
        found = as_dtype(part, "bfloat16")
        assert found.shape == part.shape
        assert torch.equal(as_torch(found), torch.from_numpy(part.copy()).bfloat16())


def test_a_bias_that_moves_by_a_thousandth_stays_float32() -> None:
    bias = "model.layers.0.mlp.gate.e_score_correction_bias"
    assert kept_dtype_name(bias, "bfloat16") == "float32"
    assert kept_dtype_name("model.layers.0.mlp.gate.weight", "bfloat16") == "bfloat16"
    assert as_float32(as_dtype(np.array([1.001], np.float32), "bfloat16")) == 1.0


def test_a_config_s_dtype_is_a_name_or_refused(make_config: Callable[..., ModelConfig]) -> None:
    config = make_config()
    assert dtype_name_of(replace(config, dtype="torch.float16")) == "float16"
    with pytest.raises(ConfigError, match="dtype 'float64' is not supported"):
        dtype_name_of(replace(config, dtype="float64"))
