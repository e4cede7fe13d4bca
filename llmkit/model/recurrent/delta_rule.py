"""The gated delta rule (2412.06464): a matrix that forgets, and corrects what it gives for a key.

For one head, with a decay a = exp(g) and a rate b, position after position:

    S <- a S
    S <- S + k (b (v - S' k))'       the value found under k moves towards v
    o  = S' q

Shapes: B rows, T positions, W heads, X numbers of a key, Y of a value; C positions of a chunk, N chunks.
"""

import torch
from torch import Tensor

from llmkit.model.recurrent.chunks import decays, in_chunks


def delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    b: Tensor,
    state: Tensor | None = None,
    segments: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What each position reads, and the matrices after the last.

    Args:
        q: (B, W, T, X) float32, scaled.
        k: (B, W, T, X) float32, of length 1.
        v: (B, W, T, Y) float32.
        g: (B, W, T) float32 logarithms of the decay, 0 or less.
        b: (B, W, T) float32.
        state: (B, W, X, Y) float32 before the first position; None: zeros.
        segments: (B, T) which document each position belongs to: each begins with zeros.

    Returns:
        (B, W, T, Y) and (B, W, X, Y), float32.
    """
    if state is None:
        state = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    if q.shape[2] == 1:
        return _step(q, k, v, g, b, state)
    return _chunks(q, k, v, g, b, state, segments)


def _step(q: Tensor, k: Tensor, v: Tensor, g: Tensor, b: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One position, as the rule is written."""
    state = state * g.exp()[..., None]
    correction = (v - k @ state) * b[..., None]  # (B, W, 1, Y)
    state = state + k.transpose(-1, -2) * correction
    return q @ state, state


def _chunks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    b: Tensor,
    state: Tensor,
    segments: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The corrections of a chunk depend on each other: they solve a triangular system.

    With c the sum of g from the chunk's beginning, the correction at i is

        u_i = b_i (v_i - exp(c_i) S' k_i - sum over j < i of exp(c_i - c_j) (k_j . k_i) u_j)

    where S is the matrix before the chunk: what does not depend on S is solved for in all chunks at once.
    """
    T = q.shape[2]
    q, k, v, g, b = (in_chunks(one) for one in (q, k, v, g, b))  # (B, W, N, C, ...)
    decay, enters, leaves, stays = decays(g, segments)
    overlap = (k * b[..., None]) @ k.transpose(-1, -2) * decay
    right = torch.cat((v * b[..., None], k * (b * enters)[..., None]), -1)
    solved = torch.linalg.solve_triangular(overlap, right, upper=False, unitriangular=True)
    u, reached = solved.split((v.shape[-1], k.shape[-1]), -1)
    within = (q @ k.transpose(-1, -2)) * decay
    q = q * enters[..., None]
    k = (k * leaves[..., None]).transpose(-1, -2)
    read = []
    for n in range(q.shape[2]):
        correction = u[:, :, n] - reached[:, :, n] @ state
        read.append(q[:, :, n] @ state + within[:, :, n] @ correction)
        state = state * stays[:, :, n, None, None] + k[:, :, n] @ correction
    return torch.stack(read, 2).flatten(2, 3)[:, :, :T], state
