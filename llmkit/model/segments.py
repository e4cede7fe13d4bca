"""Documents of a row: how long each is, and positions that start again with every one."""

import torch
from torch import Tensor


def document_lengths(segments: Tensor) -> Tensor:
    """How many tokens of its row the document of each has.

    Args:
        segments: (B, T) document numbers; a document's tokens stand together.

    Returns:
        (B, T) int64.
    """
    return segment_positions(segments) + segment_positions(segments.flip(1)).flip(1) + 1


def segment_positions(segments: Tensor) -> Tensor:
    """Positions that restart where the segment changes, as each document would have them alone.

    Args:
        segments: (B, T) document numbers; a document's tokens stand together.

    Returns:
        (B, T) int64.
    """
    T = segments.shape[1]
    index = torch.arange(T, device=segments.device).expand_as(segments)
    changed = torch.zeros_like(index)
    changed[:, 1:] = torch.where(segments[:, 1:] != segments[:, :-1], index[:, 1:], 0)
    return index - changed.cummax(dim=1).values
