"""Rotary position embeddings (2104.09864): plain, linear and llama3 scaling.

A head's first and second halves are the two coordinates of each rotated pair, as in Hugging Face checkpoints.
Shapes: B batch, T positions, H heads, E head_dim.
"""

import math

import torch
from torch import Tensor

from llmkit.model.config import ModelConfig


class Rope:
    """Cosines and sines of every position, computed once in float32 and grown when a longer text comes.

    Not a module: its tables are no parameters, follow the device of the ids, and stay float32 under
    `model.to(torch.bfloat16)`.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._inverse_frequencies = inverse_frequencies(config)
        self._cos = self._sin = torch.empty(0, config.head_dim // 2, device="cpu")

    def table(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """cos and sin of positions 0 to at least `length` - 1, each (>= length, E / 2) float32."""
        if len(self._cos) < length:
            rows = max(256, 2 ** math.ceil(math.log2(length)))
            angle = torch.outer(torch.arange(rows, device="cpu").float(), self._inverse_frequencies)
            self._cos, self._sin = angle.cos(), angle.sin()
        if self._cos.device != device:
            self._cos, self._sin = self._cos.to(device), self._sin.to(device)
        return self._cos, self._sin


def inverse_frequencies(config: ModelConfig) -> Tensor:
    """Radians per position of each pair, after scaling. (E / 2,) float32."""
    exponent = torch.arange(0, config.head_dim, 2, device="cpu").float() / config.head_dim
    frequency = 1.0 / config.rope_theta**exponent
    scaling = config.rope_scaling
    if scaling is None:
        return frequency
    if scaling["rope_type"] == "linear":
        return frequency / scaling["factor"]
    return _llama3(frequency, scaling)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair of x by its position's angle.

    Args:
        x: (B, H, T, E).
        cos: (T, E / 2) or (B, 1, T, E / 2).
        sin: the same.
    """
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _llama3(frequency: Tensor, scaling: dict[str, float]) -> Tensor:
    """Llama 3.1's rule: long waves are slowed by `factor`, short ones kept, those between blended."""
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = scaling["original_max_position_embeddings"] * frequency / (2 * math.pi)  # over the old context
    keep = ((turns - low) / (high - low)).clamp(0.0, 1.0)
    return keep * frequency + (1.0 - keep) * frequency / factor
