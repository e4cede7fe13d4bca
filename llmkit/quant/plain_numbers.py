"""Tensors of a plan that have no grid: the dtypes that files keep them in, and what is left of them there."""

import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.quant.plan import QuantPlan

_GGML = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def plain_dtypes(plan: QuantPlan) -> dict[str, torch.dtype]:
    """Of each tensor that is not rounded to a grid, by its name in `state_dict()`."""
    return {
        name: _GGML.get(unit.stored_as) or getattr(torch, unit.stored_as)
        for unit in plan.units
        if unit.grid is None
        for name in unit.names
    }


def check_plain(name: str, tensor: Tensor, dtype: torch.dtype | None) -> None:
    """Find that a tensor is written as numbers: as with those on grids, no NaN goes by.

    Args:
        name: for the message.
        tensor: as the model has it.
        dtype: that it is written in; None: its own.

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
            hint="choose a type with a wider range for it: --tensor, --embeddings, --head or --type",
        )


def as_stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """The numbers that are read again, in the tensor's own dtype: itself where none is lost."""
    return tensor if dtype in (None, tensor.dtype) else tensor.to(dtype).to(tensor.dtype)
