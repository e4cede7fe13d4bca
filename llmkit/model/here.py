"""Parameters of which a process may have a part only: whether it has, and what of them is here."""

from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

Maybe = TypeVar("Maybe", Tensor, Tensor | None)


def is_spread(tensor: Any) -> "TypeGuard[DTensor]":
    """Whether other processes have parts of it."""
    return getattr(tensor, "placements", None) is not None  # hasattr is false of parameters in compiled code


def here(tensor: Maybe) -> Maybe:
    """The numbers that this process has: all, or those of its part. Differentiable; None stays None."""
    return tensor.to_local() if is_spread(tensor) else tensor
