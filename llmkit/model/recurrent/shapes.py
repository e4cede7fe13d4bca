"""What a layer of state keeps of a text, however long it is. No torch.

Shapes: D hidden_size, K tokens of a convolution, W value heads, X and Y numbers of a key and of
a value head.
"""

from typing import NamedTuple

from llmkit.model.config import ModelConfig
from llmkit.model.shapes import Shape


class StateShape(NamedTuple):
    """One tensor of a text, in one layer."""

    shape: Shape
    is_sum: bool
    """Whether it adds up over the text, and is kept in float32; else in the model's dtype."""


def state_shapes(config: ModelConfig) -> tuple[StateShape, ...]:
    """The tensors of each of `state_layers`; none where a model has no such layers."""
    if (delta := config.delta) is not None:
        matrices = (delta.num_value_heads, delta.key_head_dim, delta.value_head_dim)
        return StateShape((delta.kernel - 1, delta.convolved), False), StateShape(matrices, True)
    if (short := config.short_conv) is not None:
        return (StateShape((short.kernel - 1, config.hidden_size), False),)
    if (mamba := config.mamba) is not None:
        spaces = (mamba.num_heads, mamba.state_size, mamba.head_dim)
        return StateShape((mamba.kernel - 1, mamba.convolved), False), StateShape(spaces, True)
    return ()
