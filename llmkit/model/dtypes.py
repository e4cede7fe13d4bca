"""The dtypes that weights are kept in, by the names that config.json has for them."""

from typing import TypeVar

import torch

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_Dtype = TypeVar("_Dtype", torch.dtype, torch.dtype | None)
ALWAYS_FLOAT32 = ("e_score_correction_bias",)
"""Endings of the names of tensors that stay float32 whatever the weights are: steps of 0.001 must show."""


def kept_dtype(name: str, dtype: _Dtype) -> torch.dtype | _Dtype:
    """The dtype of one tensor of a model whose weights have `dtype`; None stays None where that is free."""
    return torch.float32 if name.endswith(ALWAYS_FLOAT32) else dtype


def dtype_of(config: ModelConfig) -> torch.dtype:
    """The torch dtype that a config names.

    Raises:
        ConfigError: it is none that weights are kept in.
    """
    try:
        return DTYPES[config.dtype.removeprefix("torch.")]
    except KeyError:
        raise ConfigError(
            f"dtype {config.dtype!r} is not supported", hint=f"use {', '.join(DTYPES)}"
        ) from None
