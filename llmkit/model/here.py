"""Parameters of which a process may have a part only: what of them is here."""

from typing import TypeVar

from torch import Tensor

Maybe = TypeVar("Maybe", Tensor, Tensor | None)


def here(tensor: Maybe) -> Maybe:
    """The numbers that this process has: all, or those of its part. Differentiable; None stays None."""
    # not hasattr: the compiler takes that for false of a parameter
    spread = getattr(tensor, "placements", None) is not None
    return tensor.to_local() if spread else tensor  # type: ignore[union-attr, attr-defined]
