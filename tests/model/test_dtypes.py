"""The dtypes of weights, by the names that config.json has for them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import ALWAYS_FLOAT32, DTYPES, dtype_of


def test_a_name_is_torchs_own(make_config: Callable[..., ModelConfig]) -> None:
    config = make_config()
    for name, dtype in DTYPES.items():
        assert dtype_of(replace(config, dtype=name)) == dtype == getattr(torch, name)
    assert dtype_of(replace(config, dtype="torch.bfloat16")) == torch.bfloat16


def test_a_dtype_that_weights_are_not_kept_in_is_refused(make_config: Callable[..., ModelConfig]) -> None:
    with pytest.raises(ConfigError, match="dtype 'int8' is not supported") as caught:
        dtype_of(replace(make_config(), dtype="int8"))
    assert caught.value.hint == "use float32, bfloat16, float16"


def test_a_bias_that_moves_by_a_thousandth_needs_float32() -> None:
    assert ALWAYS_FLOAT32 == ("e_score_correction_bias",)
    assert torch.tensor(1.0) + 0.001 != 1.0
    assert torch.tensor(1.0, dtype=torch.bfloat16) + 0.001 == 1.0
