"""Tensors of a plan that have no grid: the dtypes that files keep them in, and what is left of them there."""

import torch
from torch import Tensor

from llmkit.model.gguf.save import PLAIN_DTYPES
from llmkit.quant.plan import QuantPlan


def plain_dtypes(plan: QuantPlan) -> dict[str, torch.dtype]:
    """Of each tensor that is not rounded to a grid, by its name in `state_dict()`."""
    return {
        name: PLAIN_DTYPES.get(unit.stored_as) or getattr(torch, unit.stored_as)
        for unit in plan.units
        if unit.grid is None
        for name in unit.names
    }


def as_stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """The numbers that are read again, in the tensor's own dtype: itself where none is lost."""
    return tensor if dtype in (None, tensor.dtype) else tensor.to(dtype).to(tensor.dtype)
