"""How models and outputs are evaluated: torch-free, so that flags can show their defaults."""

from dataclasses import dataclass
from typing import Literal

Like = Literal["transformers", "llama.cpp"]
Match = Literal[
    "exact",
    "normalized",
    "contains",
    "contains-all",
    "contains-any",
    "regex",
    "number",
    "gsm8k",
    "choice",
    "f1",
]
Confidence = Literal["mean", "min", "product"]
View = Literal["auto", "text", "table"]


@dataclass(frozen=True, kw_only=True)
class PplConfig:
    """What `llmkit eval ppl` scores, and how."""

    window: int | None = None
    """Tokens that the model reads at a time; None: its context, 2,048 at most; 512 as llama.cpp."""
    stride: int | None = None
    """Between the beginnings of windows; None: half a window."""
    like: Like = "transformers"
    field: str = "text"
    max_tokens: int | None = None
    """Scored at most: no record begins after that."""


@dataclass(frozen=True, kw_only=True)
class KlConfig:
    """What `llmkit eval kl` compares, and where."""

    window: int | None = None
    """Tokens of a chunk; None: 512, or the shorter context."""
    whole: bool = False
    """Whether all of a chunk is compared; else its second half, as llama.cpp does."""
    field: str = "text"
    max_chunks: int | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """How `llmkit eval score` judges an output."""

    match: Match = "exact"
    output_field: str = "completion"
    answer_field: str = "answer"
    extract: str | None = None
    """A regular expression: what it finds is judged in place of the whole; its first group, if it has one."""
    which: Literal["first", "last"] = "first"
    """Of the places that it finds."""
    ignore_case: bool = False


@dataclass(frozen=True, kw_only=True)
class DiffConfig:
    """How `llmkit eval diff` compares two results."""

    metric: str | None = None
    """A key of the records; None: correct, score, bits_per_byte, nll_per_token or kld, the first there is."""
    lower_is_better: bool | None = None
    """None: by the metric's name."""
    alpha: float = 0.05
    """Chance of a difference where there is none, below which one counts."""
    max_increase: tuple[tuple[str, float], ...] = ()
    """Figures of two reports, and the share by which each may grow."""
    common: bool = False
    """Whether records that only one of the two has are left out; else they are an error."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class TokensConfig:
    """What `llmkit eval tokens` tells of tokens."""

    top: int = 5
    """Alternatives."""
    generate: int = 0
    """Tokens to write after each text, the best at each place, and to score as well."""
    chat: bool = False
    """Whether a bare text is a user's message."""
    threshold: float | None = None
    """Tokens of a lower confidence are marked; None: the calibration's, or 0.1."""
    context: str | None = None
    """A passage to put before each text: how much does it raise the answer's probability?"""
    confidence: Confidence = "mean"
    """Of an answer, from those of its tokens: their geometric mean, the least, or the product."""
    bins: int = 15
    """Of a reliability table."""
    keep_accuracy: float = 0.9
    """What a threshold is to reach: of the answers above it so many are right."""
