"""Angles of rotary positions, plain and stretched, and tables of their cosines and sines, in numpy.

Bits matter: a frequency one float32 step off turns position 100,000 by up to 0.006 radians, and the text is
no longer the same. So the operations are transformers' own in their order and precision (a number divided by
an array is number * (1 / array), as in torch). What libraries round differently is told by an `Arithmetic`:
with torch's (model/rope.py) the bits are transformers' too; with numpy's one frequency in a hundred or two is
a step off. Both are off by about 1e-7 of what exact arithmetic would give.
Shapes: R rotary_dim.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from llmkit.kernels.memory import Floats
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import FullHeadsConfig
from llmkit.model.rope_scaling import ORIGINAL, attention_factor, depends_on_length

_LEAST_ROWS = 256
Power = Callable[[float, Floats], Floats]
"""A base, taken as float32, to the power of many exponents."""


@dataclass(frozen=True)
class Arithmetic:
    """Functions of float32 whose last bit is the library's to say."""

    power: Power
    cos_sin: Callable[[Floats], tuple[Floats, Floats]]


def _power(base: float, exponents: Floats) -> Floats:
    """In double precision, rounded once."""
    return np.power(np.float64(np.float32(base)), exponents.astype(np.float64)).astype(np.float32)


def _cos_sin(angle: Floats) -> tuple[Floats, Floats]:
    return np.cos(angle), np.sin(angle)


NUMPY = Arithmetic(_power, _cos_sin)


class Kind(NamedTuple):
    """What one table serves."""

    own_base: bool
    """Sliding layers with a base of their own, whose positions are not scaled."""
    stretched: bool
    """Texts beyond the original context, of a scaling that looks at the length."""


class RopeTables:
    """Cosines and sines of every position, computed once in float32 and grown when a longer text comes."""

    def __init__(self, config: ModelConfig, arithmetic: Arithmetic = NUMPY) -> None:
        self._config = config
        self._arithmetic = arithmetic
        self._tables: dict[Kind, tuple[Floats, Floats]] = {}

    @property
    def depends_on_length(self) -> bool:
        """Whether a position's angle changes with the length of the text: each pass asks for its table."""
        return depends_on_length(self._config.rope_scaling)

    def table(self, end: int, *, sliding: bool = False) -> tuple[Floats, Floats]:
        """cos and sin of positions 0 to at least `end` - 1, each (>= end, R / 2).

        They are multiplied with the scaling's attention factor, so a rotated score has its square.

        Args:
            end: positions so far, with those of this pass.
            sliding: for layers with a sliding window, which may have a base of their own.
        """
        kind = self.kind(end, sliding=sliding)
        exact = kind.stretched and self._has_a_base_for_each_length
        held = self._tables.get(kind)
        if held is None or len(held[0]) < end or (exact and len(held[0]) > end):
            rows = end if exact else max(_LEAST_ROWS, 2 ** math.ceil(math.log2(end)))
            held = self._tables[kind] = self._made(rows, end, sliding=kind.own_base)
        return held

    def kind(self, end: int, *, sliding: bool = False) -> Kind:
        """Which table has `end` positions; one of each kind is kept."""
        config = self._config
        if sliding and config.sliding_rope_theta is not None:
            return Kind(own_base=True, stretched=False)
        scaling = config.rope_scaling
        stretched = scaling is not None and depends_on_length(scaling) and end > scaling[ORIGINAL]
        return Kind(own_base=False, stretched=stretched)

    @property
    def _has_a_base_for_each_length(self) -> bool:
        """Beyond its original context; longrope has one list of factors for all lengths there."""
        scaling = self._config.rope_scaling
        return scaling is not None and scaling["rope_type"] == "dynamic"

    def _made(self, rows: int, end: int, *, sliding: bool) -> tuple[Floats, Floats]:
        config = self._config
        frequencies = inverse_frequencies(config, end, sliding=sliding, power=self._arithmetic.power)
        cos, sin = self._arithmetic.cos_sin(np.outer(np.arange(rows, dtype=np.float32), frequencies))
        factor = 1.0 if sliding else attention_factor(config.rope_scaling, config.max_position_embeddings)
        cos *= factor
        sin *= factor
        return cos, sin


def inverse_frequencies(
    config: ModelConfig, length: int = 0, *, sliding: bool = False, power: Power = NUMPY.power
) -> Floats:
    """Radians per position of each pair, after scaling. (R / 2,) float32.

    Args:
        config: of the model.
        length: positions of the text so far; it matters to dynamic and longrope scaling only.
        sliding: for layers with a sliding window, which may have a base of their own, not scaled.
        power: of the arithmetic.
    """
    width, theta, scaling = config.rotary_dim, config.rope_theta, config.rope_scaling
    if not sliding and config.full_heads is not None:
        return _some_of_all(theta, config.full_heads, scaling, power)
    exponent = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    if sliding and config.sliding_rope_theta is not None:
        theta, scaling = config.sliding_rope_theta, None
    if scaling is not None and scaling["rope_type"] == "dynamic" and length > scaling[ORIGINAL]:
        theta = _grown_base(theta, width, scaling, length)
    wave = power(theta, exponent)  # positions per radian
    match scaling:
        case None | {"rope_type": "dynamic"}:
            return 1.0 / wave
        case {"rope_type": "linear"}:
            return 1.0 / wave / scaling["factor"]
        case {"rope_type": "yarn"}:
            return _yarn(theta, width, wave, scaling)
        case {"rope_type": "llama3"}:
            return _llama3(1.0 / wave, scaling)
        case _:  # longrope: the config has checked its type
            factors = scaling["long_factor" if length > scaling[ORIGINAL] else "short_factor"]
            return 1.0 / (np.array(factors, dtype=np.float32) * wave)


def _grown_base(theta: float, width: int, scaling: Mapping[str, Any], length: int) -> float:
    """NTK-aware: the base grows so that the slowest pair turns no further than in the original context.

    Beyond that context transformers has it in float32, but for the power.
    """
    stretch = scaling["factor"] * np.float32(length) / scaling[ORIGINAL] - (scaling["factor"] - 1)
    return float(theta * np.float32(float(stretch) ** (width / (width - 2))))


def _some_of_all(
    theta: float, heads: FullHeadsConfig, scaling: Mapping[str, Any] | None, power: Power
) -> Floats:
    """Of a head whose first pairs turn as they would if all did; the others stand still."""
    turned = np.arange(0, heads.rotary_dim, 2, dtype=np.float32) / np.float32(heads.head_dim)
    found = np.zeros(heads.head_dim // 2, np.float32)
    found[: len(turned)] = 1.0 / power(theta, turned)
    return found if scaling is None else found / np.float32(scaling["factor"])


def _yarn(theta: float, width: int, wave: Floats, scaling: Mapping[str, Any]) -> Floats:
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
    pair = np.arange(len(wave), dtype=np.float32)
    keep = 1 - ((pair - low) / (high - low)).clip(0, 1)
    return 1.0 / (scaling["factor"] * wave) * (1 - keep) + 1.0 / wave * keep


def _llama3(frequency: Floats, scaling: Mapping[str, Any]) -> Floats:
    """Llama 3.1's rule: long waves are slowed by `factor`, short ones kept, those between blended."""
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    original = scaling[ORIGINAL]
    wave = 1.0 / frequency * (2 * math.pi)  # positions of a whole turn
    keep = (1.0 / wave * original - low) / ((high - low) or 1.0)  # equal in Llama 4: nothing is between
    slowed = np.where(wave > original / low, frequency / factor, frequency)
    blended = (1 - keep) * slowed / factor + keep * slowed
    return np.where((wave < original / high) | (wave > original / low), slowed, blended)
