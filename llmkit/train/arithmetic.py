"""The arithmetic of a forward pass: of learning, and of what is compared with what is learnt."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def arithmetic(device: torch.device, dtype: str) -> AbstractContextManager[Any]:
    """A region whose products are in a recipe's dtype; what needs float32 stays in it."""
    if dtype == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
