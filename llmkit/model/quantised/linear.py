"""A linear layer over a matrix that is kept as codes: a frozen base for adapters (QLoRA, 2305.14314).

Shapes: R rows (outputs), C columns (inputs).
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.dtypes import computed_dtype


class Codes(Protocol):
    """A matrix in some quantised form."""

    @property
    def shape(self) -> tuple[int, int]:
        """(R, C)"""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What it keeps, by name; handed back to `dense`."""

    def dense(self, tensors: dict[str, Tensor], dtype: torch.dtype) -> Tensor:
        """The matrix as numbers: (R, C), on the device of the tensors."""


class _Product(torch.autograd.Function):
    """x W^T, where W is made out of codes for the moment of each product, and again for its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: "QuantisedLinear") -> Tensor:
        """x: (..., C). Gives (..., R)."""
        ctx.layer = layer
        return F.linear(x, layer.dense(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """gradients: one of (..., R)."""
        (gradient,) = gradients
        return gradient @ ctx.layer.dense(gradient.dtype), None


class QuantisedLinear(nn.Module):
    """x W^T + bias; of W there are only the codes, and no gradient.

    Nothing of it is in a state_dict: the base is kept by its own files.
    """

    def __init__(self, codes: Codes, bias: Tensor | None = None, dtype: torch.dtype = torch.float32) -> None:
        """
        Args:
            codes: of W.
            bias: (R,)
            dtype: of what `dense` makes where none is asked for.
        """
        super().__init__()
        self.out_features, self.in_features = codes.shape
        self.dtype = dtype
        self._codes = codes
        self._names = tuple(codes.tensors)
        for name, tensor in codes.tensors.items():
            self.register_buffer(_held(name), tensor, persistent=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    @property
    def nbytes(self) -> int:
        """Of the codes and what belongs to them."""
        return sum(tensor.nbytes for tensor in self._tensors().values())

    @property
    def weight(self) -> Tensor:
        """W, made now: who reads it often had better keep it."""
        return self.dense()

    def dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """W: (R, C)."""
        return self._codes.dense(self._tensors(), dtype or self.dtype)

    def product(self, x: Tensor) -> Tensor:
        """x: (..., C). Returns x W^T, (..., R)."""
        y: Tensor = _Product.apply(x.to(computed_dtype(x)), self)  # type: ignore[no-untyped-call]
        return y

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., C). Returns (..., R)."""
        y = self.product(x)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def _apply(self, fn: Any, recurse: bool = True) -> "QuantisedLinear":
        """Moves go through; a change of dtype leaves codes and steps as they are kept."""
        before = self._tensors()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, moved in self._tensors().items():
            if moved.dtype != before[name].dtype:
                self._buffers[_held(name)] = before[name].to(moved.device)
        return self

    def _tensors(self) -> dict[str, Tensor]:
        return {name: self.get_buffer(_held(name)) for name in self._names}


def _held(name: str) -> str:
    """The buffer's: layouts have a tensor called `weight`, too."""
    return f"stored_{name}"
