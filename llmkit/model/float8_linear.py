"""Matrices that multiply in float8 while they learn: e4m3 forwards, gradients in e5m2 (2209.05433).

Every tensor fills its grid by one scale, of its own largest number at that moment. Products are summed in
float32 by `torch._scaled_mm`: a GPU has units for them from compute capability 8.9 on, a CPU gives the same
numbers slowly.

Shapes: N tokens, D numbers in, F numbers out.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.errors import ConfigError

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
SIDE = 16
"""What the sides of a product must be a multiple of: the units take no others."""
_LEAST = 1e-30
"""For the scale of zeros: far below any gradient, and its quotient by the largest code is no subnormal."""


class Float8Linear(nn.Linear):
    """An nn.Linear that multiplies in float8; its weights are stored and learn as they would."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., D) to (..., F)."""
        return float8_linear(input, self.weight, self.bias)


def use_float8(layers: nn.Module) -> int:
    """Let plain matrices multiply in float8, where both sides are a multiple of SIDE.

    Args:
        layers: of a model; changed in place.

    Returns:
        How many do.

    Raises:
        ConfigError: none can.
    """
    found = [one for one in layers.modules() if type(one) is nn.Linear]
    fitting = [one for one in found if one.in_features % SIDE == 0 and one.out_features % SIDE == 0]
    if not fitting:
        raise ConfigError(
            f"--fp8: no matrix of the layers has sides that are multiples of {SIDE}",
            hint="another --hidden-size and --intermediate-size, or leave it out",
        )
    for one in fitting:
        one.__class__ = Float8Linear
    return len(fitting)


def float8_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """What `F.linear` gives, in float8.

    Args:
        x: (..., D).
        weight: (F, D).
        bias: (F).

    Returns:
        (..., F), in the dtype of autocast, or of x where there is none.
    """
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    flat: Tensor = _Product.apply(x.flatten(0, -2), weight, dtype)  # type: ignore[no-untyped-call]
    y = flat.unflatten(0, x.shape[:-1])
    return y if bias is None else y + bias.to(dtype)


class _Product(torch.autograd.Function):
    """(N, D) and (F, D) to (N, F). Codes of x are kept; a weight's are made again, as it may be in shards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        codes, scale = encode(x, FORWARD)
        ctx.save_for_backward(codes, scale, weight)
        ctx.dtype = x.dtype
        w_codes, w_scale = encode(weight, FORWARD)
        return torch._scaled_mm(codes, w_codes.t(), scale, w_scale, out_dtype=dtype, use_fast_accum=True)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        codes, scale, weight = ctx.saved_tensors
        g_codes, g_scale = encode(grads[0], BACKWARD)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            w_codes, w_scale = encode(weight, FORWARD)
            of_x = torch._scaled_mm(g_codes, _columns(w_codes), g_scale, w_scale, out_dtype=ctx.dtype)
        if ctx.needs_input_grad[1]:  # its sum is over tokens: zeros make their number fit
            more = -len(codes) % SIDE
            g_codes, codes = (F.pad(one.view(torch.uint8), (0, 0, 0, more)) for one in (g_codes, codes))
            of_weight = torch._scaled_mm(
                g_codes.view(BACKWARD).t().contiguous(),
                _columns(codes.view(FORWARD)),
                g_scale,
                scale,
                out_dtype=weight.dtype,
            )
        return of_x, of_weight, None


def encode(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Codes of a float8 dtype and the scale that they stand for x with, float32 without shape.

    A number that is not finite makes all of them not-a-number.
    """
    scale = x.detach().abs().amax().float().clamp(min=_LEAST) / torch.finfo(dtype).max
    return (x.detach().float() / scale).to(dtype), scale


def _columns(codes: Tensor) -> Tensor:
    """The same matrix, column after column in memory, as a product wants its right side."""
    return codes.t().contiguous().t()
