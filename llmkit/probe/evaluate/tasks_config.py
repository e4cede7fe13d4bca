"""How tasks are put to a model: torch-free, so that flags can show their defaults."""

from dataclasses import dataclass
from typing import Literal

from llmkit.probe.evaluate.config import Match

ChoiceForm = Literal["plain", "mmlu", "hellaswag", "arc", "truthfulqa", "lambada"]
ChoiceFormChoice = Literal["auto", "plain", "mmlu", "hellaswag", "arc", "truthfulqa", "lambada"]
ChoiceMetric = Literal["acc", "acc_norm", "acc_bytes"]
WrittenForm = Literal["plain", "gsm8k", "humaneval"]
WrittenFormChoice = Literal["auto", "plain", "gsm8k", "humaneval"]


@dataclass(frozen=True, kw_only=True)
class McConfig:
    """What `llmkit eval mc` asks."""

    form: ChoiceFormChoice = "auto"
    """auto: by the keys of the first record."""
    shots: int = 0
    """Examples before each question, the first of the dev file, of the same group."""
    by: str | None = None
    """A key whose values make groups; None: the form's own."""
    metric: ChoiceMetric = "acc"
    """What gates and baselines go by."""
    limit: int | None = None
    """Questions at most, of each group."""


@dataclass(frozen=True, kw_only=True)
class GenConfig:
    """What `llmkit eval gen` has written, and how it is judged."""

    form: WrittenFormChoice = "auto"
    match: Match | None = None
    """None: as the form has it."""
    extract: str | None = None
    """A regular expression: what it finds last is judged in place of the whole; its group, if it has one."""
    verify: str | None = None
    """A command that judges: JSON on its stdin, its exit status the verdict."""
    verify_seconds: float = 30.0
    """After which it is ended, and the answer is wrong."""
    verify_jobs: int = 1
    """Commands at a time."""
    shots: int = 0
    samples: int = 1
    ks: tuple[int, ...] = (1,)
    """Of pass@k."""
    limit: int | None = None
    max_tokens: int | None = None
    """None: as the form has it."""
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    stop: tuple[str, ...] | None = None
    """None: as the form has it."""
    chat: bool = False
    """Whether a question is a user's message."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class NeedleConfig:
    """What `llmkit eval needle` hides, where, and how it asks."""

    tasks: tuple[str, ...] = ("niah_single_1",)
    lengths: tuple[int, ...] = ()
    """Tokens of prompt and answer together; none: an eighth of the context, a quarter, a half, all of it."""
    depths: tuple[float, ...] = (0.0, 25.0, 50.0, 75.0, 100.0)
    """Where what is asked for stands, in percent of the hay."""
    samples: int = 4
    """Of each cell."""
    needle: str | None = None
    """Of the task needle; may have {key} and {value}."""
    question: str | None = None
    answers: tuple[str, ...] = ()
    values: Literal["words", "numbers", "uuids"] = "words"
    """What {value} is."""
    words: int | None = None
    """Keys and words are of the first so many of our list; None: of all."""
    max_tokens: int | None = None
    """Of an answer; None: as the task has it."""
    chat: bool = False
    """Whether a prompt is a user's message."""
    threshold: float = 85.6
    """Percent that a length must reach to count as used: Llama-2-7B's at 4K, as RULER has it."""
    seed: int = 0
