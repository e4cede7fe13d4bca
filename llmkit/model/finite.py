"""Tensors that are written as numbers: none is NaN or infinite, and none becomes so."""

import torch
from torch import Tensor

from llmkit.errors import DataError


def check_finite(
    name: str, tensor: Tensor, dtype: torch.dtype | None, *, hint: str = "--dtype float32 has more range"
) -> None:
    """Find that all numbers of a tensor are finite, in what it is written as too.

    Args:
        name: for the message.
        tensor: as the model has it.
        dtype: that it is written in; None: its own.
        hint: what to do where that dtype is too narrow.

    Raises:
        DataError: a number is not finite, or would not be in that dtype.
    """
    if not tensor.numel():
        return
    ends = torch.stack(tensor.aminmax())
    if not ends.isfinite().all():
        raise DataError(
            f"{name}: a weight is not a finite number", hint="llmkit doctor MODEL names the tensors"
        )
    if dtype is not None and not ends.to(dtype).isfinite().all():
        word = str(dtype).removeprefix("torch.")
        raise DataError(
            f"{name} has {ends.abs().max().item():.6g}, beyond {word}'s {torch.finfo(dtype).max:.6g}",
            hint=hint,
        )
