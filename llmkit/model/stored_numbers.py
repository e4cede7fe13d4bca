"""Weights as numpy keeps them, by the names that config.json has for dtypes. No torch.

numpy has no bfloat16: its bits stand in uint16.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import ConfigError
from llmkit.formats.bfloat16 import nearest, widened
from llmkit.model.arrays import fresh
from llmkit.model.config import ModelConfig

ARRAY_DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(np.uint16),
    "float16": np.dtype(np.float16),
}
ALWAYS_FLOAT32 = ("e_score_correction_bias",)
"""Endings of the names of tensors that stay float32 whatever the weights are: steps of 0.001 must show."""
CACHED_VALUES = 1 << 16
"""Values at a time: what is in the making stays in the cache, and memory is that of the result."""


def stays_float32(name: str) -> bool:
    """Whether a tensor is float32 whatever the weights are."""
    return name.endswith(ALWAYS_FLOAT32)


def kept_dtype_name(name: str, dtype: str) -> str:
    """The dtype of one tensor of a model whose weights have `dtype`."""
    return "float32" if stays_float32(name) else dtype


def dtype_name_of(config: ModelConfig) -> str:
    """The dtype that a config names.

    Raises:
        ConfigError: it is none that weights are kept in.
    """
    name = config.dtype.removeprefix("torch.")
    if name not in ARRAY_DTYPES:
        raise ConfigError(f"dtype {config.dtype!r} is not supported", hint=f"use {', '.join(ARRAY_DTYPES)}")
    return name


def as_dtype(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Weights in a dtype: to the nearest, ties to even; infinite where that is beyond; a NaN stays one.

    Args:
        values: of any of `ARRAY_DTYPES`.
        dtype: a name of these; where they are of it, they are given back themselves.
    """
    if values.dtype == ARRAY_DTYPES[dtype]:
        return values
    result = fresh(values.shape, ARRAY_DTYPES[dtype])
    source, place = values.reshape(-1), result.reshape(-1)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for begin in range(0, place.size, CACHED_VALUES):
            part = source[begin : begin + CACHED_VALUES]
            wide = widened(part) if part.dtype == np.uint16 else part.astype(np.float32, copy=False)
            place[begin : begin + CACHED_VALUES] = nearest(wide) if dtype == "bfloat16" else wide
    return result


def as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Weights of any of `ARRAY_DTYPES` as float32, those that are it themselves."""
    return as_dtype(values, "float32")
