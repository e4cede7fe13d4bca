"""LFM2's layer in the place of attention: a short convolution between two gates.

Shapes: B batch, T positions, D hidden_size.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from llmkit.model.config import ModelConfig
from llmkit.model.config_states import ShortConvConfig
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

    def inputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """See `Recurrent.inputs`."""
        return self.in_proj(x).chunk(3, dim=-1)

    def read(
        self, inputs: Sequence[Tensor], before: Sequence[Tensor] | None, segments: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `Recurrent.read`."""
        b, c, x = inputs
        y, last = self.conv(b * x, None if before is None else before[0], segments)
        return c * y, (last,)
