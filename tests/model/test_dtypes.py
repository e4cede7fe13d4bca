"""The dtypes of weights, by the names that config.json has for them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import (
    DTYPES,
    STORED_WORDS,
    computed_dtype,
    dtype_name,
    dtype_of,
    kept_dtype,
    tensor_of,
    wide_dtype,
)


def test_a_name_is_torchs_own(make_config: Callable[..., ModelConfig]) -> None:
    config = make_config()
    for name, dtype in DTYPES.items():
        assert dtype_of(replace(config, dtype=name)) == dtype == getattr(torch, name)
        assert dtype_name(dtype) == name
    assert dtype_of(replace(config, dtype="torch.bfloat16")) == torch.bfloat16


def test_a_dtype_that_weights_are_not_kept_in_is_refused(make_config: Callable[..., ModelConfig]) -> None:
    with pytest.raises(ConfigError, match="dtype 'int8' is not supported") as caught:
        dtype_of(replace(make_config(), dtype="int8"))
    assert caught.value.hint == "use float32, bfloat16, float16"


def test_safetensors_calls_each_dtype_by_its_own_word(tmp_path: Path) -> None:
    save_file({str(dtype): torch.zeros(1, dtype=dtype) for dtype in STORED_WORDS}, tmp_path / "w")
    with safe_open(tmp_path / "w", framework="pt") as file:
        assert {dtype: file.get_slice(str(dtype)).get_dtype() for dtype in STORED_WORDS} == STORED_WORDS
    assert set(STORED_WORDS) == set(DTYPES.values())


def test_products_are_computed_as_autocast_says_and_else_as_their_factor_is() -> None:
    x = torch.ones(2, dtype=torch.float16)
    assert computed_dtype(x) == torch.float16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert computed_dtype(x) == (x @ x).dtype == torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            assert computed_dtype(x) == torch.float16


def test_a_bias_that_moves_by_a_thousandth_needs_float32() -> None:
    bias = "model.layers.0.mlp.gate.e_score_correction_bias"
    assert kept_dtype(bias, torch.bfloat16) == torch.float32
    assert kept_dtype("model.norm.weight", torch.bfloat16) == torch.bfloat16
    assert kept_dtype("model.norm.weight", None) is None
    assert torch.tensor(1.0) + 0.001 != 1.0
    assert torch.tensor(1.0, dtype=torch.bfloat16) + 0.001 == 1.0


def test_a_tensor_has_the_memory_of_its_array() -> None:
    for array in (np.ones(3, np.float32), np.ones((2, 2), np.float16), np.full(4, 0x3F80, np.uint16)):
        tensor = tensor_of(array)
        assert tensor.shape == array.shape and bool((tensor == 1).all())
        tensor.zero_()
        assert not array.any()
    assert tensor_of(np.zeros(1, np.uint16)).dtype == torch.bfloat16


def test_a_sum_is_in_float32_or_in_what_is_wider() -> None:
    narrow = (torch.bfloat16, torch.float16, torch.float32)
    assert {wide_dtype(dtype) for dtype in narrow} == {torch.float32}
    assert wide_dtype(torch.float64) == torch.float64
