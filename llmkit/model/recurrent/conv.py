"""A causal convolution of each channel by itself, over a few tokens.

Shapes: B rows, T positions, C channels, K tokens that it spans.
"""

import torch
from torch import Tensor, nn


class CausalConv(nn.Module):
    """y at a position is a weighted sum of x there and at the K - 1 positions before."""

    def __init__(self, channels: int, kernel: int, *, bias: bool = False) -> None:
        """
        Args:
            channels: C.
            kernel: K.
            bias: whether a number is added to each channel.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel))  # the shape of nn.Conv1d's
        nn.init.uniform_(self.weight, -(kernel**-0.5), kernel**-0.5)
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None

    def forward(
        self, x: Tensor, before: Tensor | None = None, segments: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What follows from x and what stood before it.

        Args:
            x: (B, T, C).
            before: (B, K - 1, C), the positions before the first; None: there were none.
            segments: (B, T) which document each position belongs to: none sees another's.

        Returns:
            (B, T, C), and (B, K - 1, C), the last positions.
        """
        T, kernel = x.shape[1], self.weight.shape[-1]
        if before is None:
            before = x.new_zeros(x.shape[0], kernel - 1, x.shape[2])
        everything = torch.cat((before.to(x.dtype), x), 1)
        taps = self.weight.to(x.dtype).unbind(-1)  # (C, 1) each, the earliest first
        y = x * taps[-1][:, 0]
        for back in range(1, kernel):
            seen = everything[:, kernel - 1 - back :][:, :T]
            if segments is not None:
                seen = seen * _same_document(segments, back)
            y = y + seen * taps[-1 - back][:, 0]
        return y if self.bias is None else y + self.bias.to(y.dtype), everything[:, T:]


def _same_document(segments: Tensor, back: int) -> Tensor:
    """(B, T, 1) whether the position so far back is of the same document."""
    same = segments[:, back:] == segments[:, :-back]
    return torch.cat((torch.zeros_like(segments[:, :back], dtype=torch.bool), same), 1)[..., None]
