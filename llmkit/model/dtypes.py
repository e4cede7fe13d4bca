"""The dtypes that weights are kept in, as torch has them, by the names that config.json has for them."""

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.formats.model_folder import CONFIG_DTYPES
from llmkit.model.config import ModelConfig
from llmkit.model.stored_numbers import dtype_name_of, stays_float32

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
STORED_WORDS = {DTYPES[name]: word for word, name in CONFIG_DTYPES.items()}
"""safetensors' words for them."""

_Dtype = TypeVar("_Dtype", torch.dtype, torch.dtype | None)


def dtype_name(dtype: torch.dtype) -> str:
    """What config.json calls a dtype."""
    return str(dtype).removeprefix("torch.")


def computed_dtype(x: Tensor) -> torch.dtype:
    """What products with x are computed in: autocast, which looks into no function of our own, or as x is."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32, or what is wider: for sums and choices that bfloat16 would spoil."""
    return torch.promote_types(dtype, torch.float32)


def wide(x: Tensor) -> Tensor:
    """x in `wide_dtype`."""
    return x.to(wide_dtype(x.dtype))


def kept_dtype(name: str, dtype: _Dtype) -> torch.dtype | _Dtype:
    """The dtype of one tensor of a model whose weights have `dtype`; None stays None where that is free."""
    return torch.float32 if stays_float32(name) else dtype


def dtype_of(config: ModelConfig) -> torch.dtype:
    """The torch dtype that a config names.

    Raises:
        ConfigError: it is none that weights are kept in.
    """
    return DTYPES[dtype_name_of(config)]


def tensor_of(array: NDArray[Any]) -> Tensor:
    """An array of weights as a tensor in the same memory; uint16 is bfloat16."""
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if array.dtype == np.uint16 else tensor


def array_of(tensor: Tensor) -> NDArray[Any]:
    """A tensor's own memory as an array of weights; bfloat16 is uint16."""
    tensor = tensor.detach().contiguous()
    is_bfloat16 = tensor.dtype == torch.bfloat16
    array: NDArray[Any] = tensor.view(torch.int16).numpy().view(np.uint16) if is_bfloat16 else tensor.numpy()
    return array
