"""What an adapter adds to a product without being merged: y becomes factors * W x + b^T (a x) + bias.

Shapes: n rows, r rank.
"""

from typing import Protocol

from torch import Tensor


class LowRankAddition(Protocol):
    """Of one module (LoRA, 2106.09685), its scale counted in; with factors DoRA's (2402.09353)."""

    @property
    def a(self) -> Tensor:
        """(r, inputs) float32."""

    @property
    def b(self) -> Tensor:
        """(r, outputs) float32."""

    @property
    def factors(self) -> Tensor | None:
        """(outputs) float32; None: ones."""


def added(addition: LowRankAddition, x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """A product with its addition, in float32 as peft's.

    Args:
        addition: of the product's module.
        x: (..., in).
        y: (..., out), with the bias.
        bias: (out,), or none.
    """
    more = x.float() @ addition.a.T @ addition.b
    if addition.factors is None:
        return y.float() + more
    if bias is None:
        return addition.factors * y.float() + more
    return addition.factors * (y.float() - bias.float()) + more + bias.float()
