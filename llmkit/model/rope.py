"""Rotary position embeddings (2104.09864), plain and stretched, of all of a head or of its first numbers.

A head's first and second halves are the two coordinates of each rotated pair, as in Hugging Face checkpoints;
in an interleaved head (DeepSeek, GLM) the coordinates stand side by side.
Shapes: B batch, T positions, H heads, E head_dim, R rotary_dim.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from llmkit.model.config import ModelConfig
from llmkit.model.rope_scaling import ORIGINAL, attention_factor, depends_on_length


class Rope:
    """Cosines and sines of every position, computed once in float32 and grown when a longer text comes.

    Not a module: its tables are no parameters, follow the device of the ids, and stay float32 under
    `model.to(torch.bfloat16)`.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._tables: dict[tuple[bool, int], tuple[Tensor, Tensor]] = {}  # by sliding, and `_regime`

    @property
    def depends_on_length(self) -> bool:
        """Whether a position's angle changes with the length of the text: each pass asks for its table."""
        return depends_on_length(self._config.rope_scaling)

    def table(self, end: int, device: torch.device, *, sliding: bool = False) -> tuple[Tensor, Tensor]:
        """cos and sin of positions 0 to at least `end` - 1, each (>= end, R / 2) float32.

        They are multiplied with the scaling's attention factor, so a rotated score has its square.

        Args:
            end: positions so far, with those of this pass.
            device: where they are needed.
            sliding: for layers with a sliding window, which may have a base of their own.
        """
        config = self._config
        sliding = sliding and config.sliding_rope_theta is not None
        regime = 0 if sliding else _regime(config.rope_scaling, end)
        held = self._tables.get((sliding, regime))
        if held is None or len(held[0]) < end:
            factor = 1.0 if sliding else attention_factor(config.rope_scaling, config.max_position_embeddings)
            rows = end if regime == end else max(256, 2 ** math.ceil(math.log2(end)))
            with torch.inference_mode(False):  # made while a text is written, it may serve training too
                position = torch.arange(rows, device="cpu").float()
                angle = torch.outer(position, inverse_frequencies(config, end, sliding=sliding))
                held = angle.cos() * factor, angle.sin() * factor
        if held[0].device != device:
            held = held[0].to(device), held[1].to(device)
        if regime == end:  # of this length only: the last one's is not needed again
            self._tables = {key: kept for key, kept in self._tables.items() if key[1] == 0}
        self._tables[sliding, regime] = held
        return held


def inverse_frequencies(config: ModelConfig, length: int = 0, *, sliding: bool = False) -> Tensor:
    """Radians per position of each pair, after scaling. (R / 2,) float32.

    The operations are transformers' own in their order and precision, so that the bits are too: a frequency
    one float32 step off turns position 100,000 by up to 0.006 radians, and the text is no longer the same.
    Both are off by about 1e-7 of what exact arithmetic would give.

    Args:
        config: of the model.
        length: positions of the text so far; it matters to dynamic and longrope scaling only.
        sliding: for layers with a sliding window, which may have a base of their own, not scaled.
    """
    width, theta, scaling = config.rotary_dim, config.rope_theta, config.rope_scaling
    exponent = torch.arange(0, width, 2, device="cpu").float() / width
    if sliding and config.sliding_rope_theta is not None:
        theta, scaling = config.sliding_rope_theta, None
    match scaling:
        case None:
            return 1.0 / theta**exponent
        case {"rope_type": "linear"}:
            return 1.0 / theta**exponent / scaling["factor"]
        case {"rope_type": "dynamic"}:
            return 1.0 / _dynamic_base(theta, width, scaling, length) ** exponent
        case {"rope_type": "yarn"}:
            return _yarn(theta, width, theta**exponent, scaling)
        case {"rope_type": "llama3"}:
            return _llama3(1.0 / theta**exponent, scaling)
        case _:  # longrope: the config has checked its type
            factors = scaling["long_factor" if length > scaling[ORIGINAL] else "short_factor"]
            return 1.0 / (torch.tensor(factors, dtype=torch.float32, device="cpu") * theta**exponent)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, *, interleaved: bool = False) -> Tensor:
    """Rotate each pair among the first R numbers of a head by its position's angle, and keep the rest.

    Args:
        x: (B, H, T, E).
        cos: (T, R / 2) or (B, 1, T, R / 2).
        sin: the same.
        interleaved: pairs stand side by side in x. They come out in two halves all the same: queries and keys
            are reordered alike, so that scores do not change.
    """
    width = 2 * cos.shape[-1]
    head, rest = (x, ()) if width == x.shape[-1] else (x[..., :width], (x[..., width:],))
    first, second = (head[..., 0::2], head[..., 1::2]) if interleaved else head.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin, *rest), dim=-1)


def _regime(scaling: Mapping[str, Any] | None, end: int) -> int:
    """What a table of `end` positions may be shared with: those of the same number.

    0 within the original context, or if length does not matter; beyond it, dynamic has a base for each
    length, and longrope one list for all.
    """
    if scaling is None or not depends_on_length(scaling) or end <= scaling[ORIGINAL]:
        return 0
    return end if scaling["rope_type"] == "dynamic" else -1


def _dynamic_base(theta: float, width: int, scaling: Mapping[str, Any], length: int) -> float | Tensor:
    """NTK-aware: the base grows so that the slowest pair turns no further than in the original context."""
    original, factor = scaling[ORIGINAL], scaling["factor"]
    # A number within the context and a tensor beyond it, as in transformers: float64 and float32 arithmetic
    stretch = original if length <= original else torch.tensor(length, device="cpu")
    base: float | Tensor = theta * ((factor * stretch / original) - (factor - 1)) ** (width / (width - 2))
    return base


def _yarn(theta: float, width: int, wave: Tensor, scaling: Mapping[str, Any]) -> Tensor:
    """Pairs that turn often within the original context stay, those that hardly turn are slowed, others mix.

    Args:
        theta: the base.
        width: R.
        wave: (R / 2,) positions per radian of each pair.
        scaling: its numbers.
    """

    def pair_that_turns(turns: float) -> float:
        around = scaling[ORIGINAL] / (turns * 2 * math.pi)
        return width * math.log(around) / (2 * math.log(theta))

    low, high = pair_that_turns(scaling["beta_fast"]), pair_that_turns(scaling["beta_slow"])
    if scaling["truncate"]:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    if low == high:
        high += 0.001
    pair = torch.arange(len(wave), dtype=torch.float32, device="cpu")
    keep = 1 - ((pair - low) / (high - low)).clamp(0, 1)
    return 1.0 / (scaling["factor"] * wave) * (1 - keep) + 1.0 / wave * keep


def _llama3(frequency: Tensor, scaling: Mapping[str, Any]) -> Tensor:
    """Llama 3.1's rule: long waves are slowed by `factor`, short ones kept, those between blended."""
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    original = scaling[ORIGINAL]
    wave = 2 * math.pi / frequency  # positions of a whole turn
    keep = (original / wave - low) / (high - low)
    slowed = torch.where(wave > original / low, frequency / factor, frequency)
    blended = (1 - keep) * slowed / factor + keep * slowed
    return torch.where((wave < original / high) | (wave > original / low), slowed, blended)
