"""Mamba-2's state space (2405.21060): a matrix that forgets at each position, and adds what comes.

For one head, with the logarithm g of a decay, position after position:

    S <- exp(g) S + k x'
    y  = S' q

k and q, which the paper calls B and C, are shared by the heads of a group. Within a chunk that is attention
without a softmax, each score times the decay between its two positions; from chunk to chunk, the rule.
Shapes: B rows, T positions, W heads of Y numbers, G groups of R heads, X numbers of a key; C positions of a
chunk, N chunks.
"""

import torch
from torch import Tensor

from llmkit.model.recurrent.chunks import decays, in_chunks


def state_space(
    q: Tensor,
    k: Tensor,
    x: Tensor,
    g: Tensor,
    state: Tensor | None = None,
    segments: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What each position reads, and the matrices after the last.

    Args:
        q: (B, G, T, X) float32.
        k: (B, G, T, X) float32.
        x: (B, W, T, Y) float32.
        g: (B, W, T) float32, 0 or less.
        state: (B, W, X, Y) float32 before the first position; None: zeros.
        segments: (B, T) which document each position belongs to: each begins with zeros.

    Returns:
        (B, W, T, Y) and (B, W, X, Y), float32.
    """
    if state is None:
        state = x.new_zeros(*x.shape[:2], k.shape[-1], x.shape[-1])
    if x.shape[2] == 1:
        return _step(q, k, x, g, state)
    return _chunks(q, k, x, g, state, segments)


def _step(q: Tensor, k: Tensor, x: Tensor, g: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One position, as the rule is written."""
    groups = q.shape[1]
    q, k = (one.unsqueeze(2) for one in (q, k))  # (B, G, 1, 1, X): of all heads of a group
    added = k.transpose(-1, -2) * x.unflatten(1, (groups, -1))  # (B, G, R, X, Y)
    state = state * g.exp()[..., None] + added.flatten(1, 2)
    return (q @ state.unflatten(1, (groups, -1))).flatten(1, 2), state


def _chunks(
    q: Tensor, k: Tensor, x: Tensor, g: Tensor, state: Tensor, segments: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Products with keys and queries are of all heads of a group at once: what they share is not repeated."""
    T, groups = x.shape[2], q.shape[1]
    q, k, x, g = (in_chunks(one) for one in (q, k, x, g))  # (B, G or W, N, C, ...)
    decay, enters, leaves, stays = decays(g, segments)
    scores = (q @ k.transpose(-1, -2))[:, :, None]  # (B, G, 1, N, C, C)
    within = (scores * decay.unflatten(1, (groups, -1))) @ x.unflatten(1, (groups, -1))
    added = _apart(k.transpose(-1, -2) @ _beside(x * leaves[..., None], groups), x.shape[-1])
    read = []
    for n in range(q.shape[2]):
        found = _apart(q[:, :, n : n + 1] @ _beside(state[:, :, None], groups), x.shape[-1])
        read.append(found * enters[:, :, n : n + 1, :, None])
        state = state * stays[:, :, n, None, None] + added[:, :, n]
    y = within.flatten(1, 2) + torch.cat(read, 2)
    return y.flatten(2, 3)[:, :, :T], state


def _beside(one: Tensor, groups: int) -> Tensor:
    """(B, W, N, rows, Y) of each head as (B, G, N, rows, R * Y), the heads of a group side by side."""
    return one.unflatten(1, (groups, -1)).permute(0, 1, 3, 4, 2, 5).flatten(4)


def _apart(one: Tensor, width: int) -> Tensor:
    """Undoes `_beside`, where a head has so many numbers."""
    return one.unflatten(-1, (-1, width)).permute(0, 1, 4, 2, 3, 5).flatten(1, 2)
