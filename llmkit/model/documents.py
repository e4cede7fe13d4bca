"""Attention in rows of several documents without a mask: a GPU's kernel is told where each begins.

A mask of B rows has B T T entries, most of which say no, and the kernels that take one compute every score.
Shapes: B rows, T positions of a row, N documents of all rows, H query heads, K key/value heads, E head_dim.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor

_LEAST = 64
DTYPES = (torch.float16, torch.bfloat16)
"""What the kernel computes in."""


def document_starts(segments: Tensor) -> Tensor:
    """Where documents begin, all rows end to end, and behind them the end of all, as often as fills up.

    Filled up to a power of two, so that a compiled pass sees few lengths. The CPU waits for the device.

    Args:
        segments: (B, T) which document of its row each token belongs to.

    Returns:
        (at least N + 1,) int32.
    """
    changes = torch.ones_like(segments, dtype=torch.bool)
    changes[:, 1:] = segments[:, 1:] != segments[:, :-1]
    found = changes.flatten().nonzero().squeeze(1).int()
    count = max(_LEAST, 1 << len(found).bit_length())
    return torch.nn.functional.pad(found, (0, count - len(found)), value=segments.numel())


def has_document_kernel(device: torch.device) -> bool:
    """Whether this torch has variable-length attention (2.10), and the device can compute it (Ampere)."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0) and _find_kernel()


def attend_documents(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, *, scale: float, window: int | None = None
) -> Tensor:
    """Causal attention of each document over itself alone.

    Args:
        q: (B, H, T, E), of DTYPES.
        k: (B, K, T, E); H is a multiple of K.
        v: the same.
        starts: see `document_starts`.
        scale: what scores are multiplied with.
        window: how many positions a query sees, its own included; None for all before it.

    Returns:
        (B, H, T, E).
    """
    kernel = _kernels[0]  # `has_document_kernel` has said yes
    B, H, T, E = q.shape
    q, k, v = (one.transpose(1, 2).reshape(B * T, -1, E) for one in (q, k, v))
    borders = (-1, 0) if window is None else (window - 1, 0)
    more = kernel.shared_heads if k.shape[1] != H else {}
    y = kernel.call(q, k, v, starts, starts, T, T, scale=scale, window_size=borders, **more)
    return y.view(B, T, H, E).transpose(1, 2)


@dataclass(frozen=True)
class _Kernel:
    """torch's variable-length attention."""

    call: Callable[..., Any]
    shared_heads: dict[str, Any]
    """What it is told where there are fewer key heads than query heads: nothing before torch 2.12."""


_kernels: list[_Kernel] = []
"""The one that there is, once it was asked for: a compiled pass reads it as a constant."""


def _find_kernel() -> bool:
    if not _kernels:
        try:
            from torch.nn.attention.varlen import varlen_attn  # registers operators: only where it is used
        except ImportError:
            return False
        known = signature(varlen_attn).parameters
        if "window_size" not in known:
            return False
        _kernels.append(_Kernel(varlen_attn, {"enable_gqa": True} if "enable_gqa" in known else {}))
    return True
