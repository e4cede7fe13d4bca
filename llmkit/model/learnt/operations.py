"""What operations that learn by native kernels share: when they are taken, and how PyTorch knows them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from llmkit.kernels.library import available
from llmkit.kernels.memory import ValueType
from llmkit.model.here import is_spread

HAS_KERNELS = available()
"""Asked for once: torch.compile reads a constant, and would look into how a library is loaded."""
TYPES = {torch.float32: ValueType.FLOAT32, torch.bfloat16: ValueType.BFLOAT16}
"""What the kernels of training read and write."""
_OPERATIONS = torch.library.Library("llmkit", "FRAGMENT")
"""Operations of PyTorch's: its compiler and `recompute` know them. `custom_op` would import the compiler."""


def takes(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether the kernels of training are for a tensor of a pass, in what it is computed in.

    Not in inference mode, as when texts are written: there PyTorch's own are the slow twin of the engine's.
    Without gradients as with them: what a reference scores has the bits of what is learnt from.
    """
    is_plain = x.device.type == "cpu" and dtype in TYPES and not is_spread(x)
    may_write = not torch.compiler.is_compiling()  # where the mode cannot be asked for
    return is_plain and HAS_KERNELS and not (may_write and torch.is_inference_mode_enabled())


def define(
    schema: str,
    kernel: Callable[..., Any],
    room: Callable[..., Any],
    learns: type[torch.autograd.Function] | None = None,
    *,
    devices: Sequence[str] = ("CPU",),
) -> None:
    """Make an operation known as `torch.ops.llmkit`'s.

    Args:
        schema: its name, what it takes and what it gives, as PyTorch writes that.
        kernel: gives it, on these devices.
        room: tensors of the shapes and dtypes of what it gives.
        learns: itself with a gradient; None: there is none.
        devices: as PyTorch's dispatcher calls them.
    """
    name = schema.split("(", 1)[0]
    _OPERATIONS.define(schema)
    _OPERATIONS.impl(name, room, "Meta")
    for device in devices:
        _OPERATIONS.impl(name, kernel, device)
        if learns is not None:
            _OPERATIONS.impl(name, learns.apply, f"Autograd{device}")


def with_neighbours(x: Tensor) -> Tensor:
    """With the numbers of the last dimension side by side."""
    return x if x.stride(-1) == 1 else x.contiguous()


def strides(name: str, x: Tensor) -> dict[str, int]:
    """Of (rows, heads, positions, ...), as the kernels' structs name them."""
    row, head, token, *_ = x.stride()
    return {f"{name}_row": row, f"{name}_head": head, f"{name}_token": token}
