"""LFM2's layer in the place of attention: a short convolution between two gates.

Shapes: B batch, T positions, D hidden_size.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ShortConvConfig
from llmkit.model.recurrent.conv import CausalConv
from llmkit.model.recurrent.layer import Recurrent


class ShortConv(Recurrent):
    """out(c * conv(b * x)), where b, c and x are three products of one input."""

    def __init__(self, config: ModelConfig, short: ShortConvConfig) -> None:
        super().__init__()
        D = config.hidden_size
        self.in_proj = nn.Linear(D, 3 * D, bias=short.bias)
        self.conv = CausalConv(D, short.kernel, bias=short.bias)
        self.out_proj = nn.Linear(D, D, bias=short.bias)

    def read(
        self, x: Tensor, before: Sequence[Tensor] | None, segments: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `Recurrent.read`."""
        b, c, x = self.in_proj(x).chunk(3, dim=-1)
        y, last = self.conv(b * x, None if before is None else before[0], segments)
        return self.out_proj(c * y), (last,)
