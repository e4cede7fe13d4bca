"""Keys and values as int8 codes with one float32 scale for each position and head.

A head of E numbers takes E + 4 bytes: 1.06 bytes a number for E = 64, 1.03 for 128. vLLM's
`int8_per_token_head` and `kv-estimate --kv-dtype int8-token` are this layout. The slow twin of
`native/keep.h`: the same codes and scales to the bit.
"""

import torch
from torch import Tensor

_SMALLEST = 2.0**-100
"""Heads with no number this large are 0."""


def encode(x: Tensor) -> tuple[Tensor, Tensor]:
    """Round each head's numbers to multiples of its largest one's 127th part, ties to even.

    Args:
        x: (..., E). A head with a number that is not finite gets the scale NaN.

    Returns:
        Codes int8 (..., E) and scales float32 (...).
    """
    numbers = x.float()
    most = numbers.abs().amax(-1)
    levels = torch.full_like(most, 127.0)  # torch divides by, and into, a plain number in two roundings
    is_zero = most < _SMALLEST
    scales = torch.where(is_zero, 0.0, most / levels)
    is_wrong = ~most.isfinite()
    inverse = torch.where(is_zero | is_wrong, 0.0, levels / most)
    codes = (numbers * inverse[..., None]).masked_fill(is_wrong[..., None], 0.0).round().to(torch.int8)
    return codes, scales.masked_fill(is_wrong, torch.nan)


def decode(codes: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """What `encode` kept, within half a scale: (..., E) of a dtype."""
    return (codes.float() * scales[..., None]).to(dtype)
