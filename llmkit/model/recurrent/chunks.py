"""Positions of a text in chunks, each computed at once, and what is left of one position at another.

Shapes: B rows, T positions, W heads; C positions of a chunk, N chunks.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 64
"""Positions that are solved for together: as in the delta rule's own kernels (2412.06464)."""


def in_chunks(one: Tensor) -> Tensor:
    """(B, W, T, ...) as (B, W, N, C, ...), filled up with zeros: nothing is kept, added or read there."""
    missing = -one.shape[2] % CHUNK
    padded = F.pad(one, (*(0, 0) * (one.dim() - 3), 0, missing))
    return padded.unflatten(2, (-1, CHUNK))


def decays(g: Tensor, segments: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What is left of one position at another, where both are of one document.

    Args:
        g: (B, W, N, C) logarithms of each position's own decay.
        segments: (B, T).

    Returns:
        (B, W, N, C, C) of column j at row i, from j on; (B, W, N, C) of the matrix before the chunk at i; the
        same of i at the chunk's end; and (B, W, N) of the matrix before the chunk at its end.
    """
    c = g.double().cumsum(-1)  # neighbours are told apart by sums of a whole chunk: float32 would lose digits
    after = torch.ones(c.shape[-1], c.shape[-1], dtype=torch.bool, device=c.device).triu(1)
    apart = (c[..., :, None] - c[..., None, :]).to(g.dtype)
    decay = apart.masked_fill(after, float("-inf")).exp()
    enters, leaves, stays = (one.to(g.dtype).exp() for one in (c, c[..., -1:] - c, c[..., -1]))
    if segments is None:
        return decay, enters, leaves, stays
    missing = -segments.shape[1] % CHUNK
    of = torch.cat((segments, segments[:, -1:].expand(-1, missing)), 1)[:, None].unflatten(2, (-1, CHUNK))
    last = F.pad(of[:, :, :-1, -1:], (0, 0, 1, 0), value=-1)  # (B, 1, N, 1) before each chunk
    decay = decay * (of[..., :, None] == of[..., None, :])
    same_as_end = of == of[..., -1:]
    return decay, enters * (of == last), leaves * same_as_end, stays * (last == of[..., -1:])[..., 0]
