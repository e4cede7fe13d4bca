"""Where new positions stand and what they may see: the same for every layer of one kind, made once a pass.

Shapes: B batch, T new positions, S all positions (cached and new), R rotary_dim.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Span:
    """New positions of one text."""

    start: int
    """Positions of the text before them."""
    count: int
    reach: int = 0
    """Positions of the text that are known, where these are more: rotations may depend on them."""

    @property
    def end(self) -> int:
        """Positions of the text after the pass."""
        return self.start + self.count


@dataclass(frozen=True)
class Layout:
    """What a layer needs to know of positions."""

    cos: Tensor | None = None
    """(T, R / 2) or (B, 1, T, R / 2) float32; None where nothing is rotated."""
    sin: Tensor | None = None
    mask: Tensor | None = None
    """(T, S) or (B, 1, T, S) bool, True where a query may look; None for plain causal attention."""
    window: int | None = None
    """How many positions a query sees, its own included; None for all before it. The mask has it already."""
    starts: Tensor | None = None
    """What `attend_documents` is told in place of the mask, where it can compute it."""


def layout_mask(
    start: int,
    length: int,
    device: torch.device,
    *,
    window: int | None = None,
    segments: Tensor | None = None,
) -> Tensor | None:
    """Which of the S = start + length positions each new one sees; None where that is plain causal attention.

    Args:
        start: positions cached before the new ones.
        length: T.
        device: of the mask.
        window: how many positions a query sees, its own included; None for all before it.
        segments: (B, T) which document each token belongs to, of which it sees no other; start is then 0.
    """
    end = start + length
    hidden_by_window = window is not None and window < end
    causal = start == 0 or length == 1  # what scaled_dot_product_attention does by itself
    if causal and not hidden_by_window and segments is None:
        return None
    mask = torch.ones(length, end, dtype=torch.bool, device=device).tril(start)
    if hidden_by_window and window is not None:
        mask = mask.triu(start - window + 1)
    if segments is not None:
        mask = mask & (segments[:, None, :, None] == segments[:, None, None, :])
    return mask
