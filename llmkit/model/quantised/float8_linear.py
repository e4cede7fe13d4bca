"""Matrices that multiply in float8 while they learn: e4m3 forwards, gradients in e5m2 (2209.05433).

Every tensor fills its grid by one scale, of its own largest number at that moment. Products are summed in
float32 by `torch._scaled_mm`: a GPU has units for them from compute capability 8.9 on, a CPU gives the same
numbers slowly.

Shapes: N tokens, D numbers in, F numbers out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from llmkit.errors import ConfigError
from llmkit.model.dtypes import computed_dtype

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
SIDE = 16
"""What the sides of a product must be a multiple of: the units take no others."""
_LEAST = 1e-30
"""For the scale of zeros: far below any gradient, and its quotient by the largest code is no subnormal."""


def itself(most: Tensor) -> Tensor:
    """The largest number of a whole tensor."""
    return most


@dataclass(frozen=True)
class Largest:
    """Of tensors that are parts of others, what makes the largest number of a part that of the whole."""

    of_input: Callable[[Tensor], Tensor] = itself
    of_weight: Callable[[Tensor], Tensor] = itself
    of_gradient: Callable[[Tensor], Tensor] = itself


WHOLE = Largest()


class Float8Linear(nn.Linear):
    """An nn.Linear that multiplies in float8; its weights are stored and learn as they would.

    Attributes:
        largest: see `float8_linear`.
    """

    largest: Largest = WHOLE

    def forward(self, input: Tensor) -> Tensor:
        """(..., D) to (..., F)."""
        return float8_linear(input, [self.weight], self.bias, largest=self.largest)


def use_float8(layers: nn.Module, *, pieces: int = 1) -> None:
    """Let plain matrices multiply in float8, where both sides are a multiple of SIDE.

    Args:
        layers: of a model; changed in place.
        pieces: that either side may be cut into.

    Raises:
        ConfigError: none can.
    """
    found = [one for one in layers.modules() if type(one) is nn.Linear]
    side = SIDE * pieces
    fitting = [one for one in found if one.in_features % side == 0 and one.out_features % side == 0]
    if not fitting:
        raise ConfigError(
            f"--fp8: no matrix of the layers has sides that are multiples of {side}",
            hint="another --hidden-size and --intermediate-size, or leave it out",
        )
    for one in fitting:
        one.__class__ = Float8Linear


def float8_linear(
    x: Tensor, weights: Sequence[Tensor], bias: Tensor | None = None, *, largest: Largest = WHOLE
) -> Tensor:
    """What `F.linear` gives of weights one below the other, in float8 with one scale for them.

    Args:
        x: (..., D).
        weights: (F, D) together.
        bias: (F).
        largest: of which of them, and of the gradient, there are other parts elsewhere.

    Returns:
        (..., F), in the dtype of autocast, or of x where there is none.
    """
    dtype = computed_dtype(x)
    # on a CPU products of codes would be rounded otherwise in it
    with torch.autocast(x.device.type, enabled=False):
        flat: Tensor = _Product.apply(x.flatten(0, -2), dtype, largest, *weights)  # type: ignore[no-untyped-call]
    y = flat.unflatten(0, x.shape[:-1])
    return y if bias is None else y + bias.to(dtype)


class _Product(torch.autograd.Function):
    """(N, D) and (F, D) to (N, F). Codes of x are kept; weights' are made again: they may be in shards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, largest: Largest, *weights: Tensor) -> Tensor:
        codes, scale = encode(x, FORWARD, largest.of_input)
        w_codes, w_scale = encode(_joined(weights), FORWARD, largest.of_weight)
        ctx.save_for_backward(codes, scale, w_scale, *weights)
        ctx.dtype, ctx.largest = x.dtype, largest
        return torch._scaled_mm(codes, w_codes.t(), scale, w_scale, out_dtype=dtype, use_fast_accum=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        codes, scale, w_scale, *weights = ctx.saved_tensors
        g_codes, g_scale = encode(grads[0], BACKWARD, ctx.largest.of_gradient)
        of_x, of_weights = None, [None] * len(weights)
        if ctx.needs_input_grad[0]:
            w_codes = _codes(_joined(weights), w_scale, FORWARD)
            of_x = torch._scaled_mm(g_codes, _columns(w_codes), g_scale, w_scale, out_dtype=ctx.dtype)
        if any(ctx.needs_input_grad[3:]):  # the sum is over tokens: zeros make their number fit
            more = -len(codes) % SIDE
            g_codes, codes = (F.pad(one.view(torch.uint8), (0, 0, 0, more)) for one in (g_codes, codes))
            together = torch._scaled_mm(
                g_codes.view(BACKWARD).t().contiguous(),
                _columns(codes.view(FORWARD)),
                g_scale,
                scale,
                out_dtype=weights[0].dtype,
            )
            of_weights = list(together.split([len(one) for one in weights]))
        return of_x, None, None, *of_weights


def _joined(weights: Sequence[Tensor]) -> Tensor:
    return weights[0] if len(weights) == 1 else torch.cat(list(weights))


def encode(
    x: Tensor, dtype: torch.dtype, largest: Callable[[Tensor], Tensor] = itself
) -> tuple[Tensor, Tensor]:
    """Codes of a float8 dtype and the scale that they stand for x with, float32 without shape.

    A number that is not finite makes all of them not-a-number.
    """
    most = largest(x.detach().abs().amax().float())
    scale = most.clamp(min=_LEAST) / torch.finfo(dtype).max
    return _codes(x, scale, dtype), scale


def _codes(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    return (x.detach().float() / scale).to(dtype)


def _columns(codes: Tensor) -> Tensor:
    """The same matrix, column after column in memory, as a product wants its right side."""
    return codes.t().contiguous().t()
