"""Settings of the measurements: torch- and numpy-free, so that flags can show their defaults."""

from dataclasses import dataclass
from typing import Literal

BenchKind = Literal["prefill", "decode", "train", "load"]
Sizes = tuple[int, ...]
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class BenchTokenizeConfig:
    """How much to measure."""

    rounds: int = 9
    max_bytes: int = 4_000_000
    """Text to encode in each round, about: documents from the start of the input."""
    fail_slower: float = 0.1
    """Share of the baseline's speed that may be lost."""
    require_quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class BenchModelConfig:
    """What `llmkit bench prefill`, `decode`, `train` and `load` have in common."""

    threads: Sizes = ()
    """Of the processor; empty: as many as the command itself would use."""
    dtype: tuple[str, ...] = (AUTO,)
    """Of weights, arithmetic and cache; auto: what the command itself would use."""
    rounds: int = 5
    seed: int = 0
    """Of the ids, and of the weights of a preset."""
    against: str | None = None
    """The peer that runs beside every case; None: no peer."""
    fail_slower: float = 0.1
    """Share of the baseline's speed that may be lost."""
    require_quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class BenchEngineConfig(BenchModelConfig):
    """What `llmkit bench prefill` and `decode` have in common beside."""

    weights: tuple[str, ...] = ("stored",)
    """stored, int8 or int4: rounded as they are loaded, as `llmkit generate --weights` does."""
    kernels: str = AUTO
    """auto, native or torch: what computes."""


@dataclass(frozen=True, kw_only=True)
class BenchPrefillConfig(BenchEngineConfig):
    """Prompts to read in."""

    prompt: Sizes = (512,)
    """Tokens."""
    depth: Sizes = (0,)
    """Tokens that the cache holds before the prompt."""


@dataclass(frozen=True, kw_only=True)
class BenchDecodeConfig(BenchEngineConfig):
    """Texts to write, one token at a time."""

    tokens: Sizes = (64,)
    depth: Sizes = (0,)
    """Tokens that the cache holds before the first one; 0 is 1, as no text begins from nothing."""
    batch: Sizes = (1,)
    """Texts at once, a token of each in every step."""


@dataclass(frozen=True, kw_only=True)
class BenchTrainConfig(BenchModelConfig):
    """Updates to make."""

    batch_rows: Sizes = (4,)
    """Rows of one update."""
    seq_len: Sizes = (512,)
    """Tokens of a row."""


@dataclass(frozen=True, kw_only=True)
class BenchLoadConfig(BenchModelConfig):
    """A folder to open, once for each dtype."""
