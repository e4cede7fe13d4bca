"""What a model gives back, whatever words it is told in: endpoints' answers are made of these. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llmkit.engine.config import SamplingConfig
from llmkit.retrieve.passage_prompt import Citation

Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class TokenScore:
    """A token and its log probability, in nats."""

    id: int
    text: str
    """What it spells; a part of a character is U+FFFD here, and whole in `content`."""
    content: bytes
    logprob: float | None
    """None for the first token of a prompt, which nothing predicts."""
    top: tuple["TokenScore", ...] = ()
    """The likeliest ones at this place, best first, theirs empty."""
    offset: int = 0
    """Characters of the answer that stand before it."""


@dataclass(frozen=True)
class ToolCall:
    """A function that the model wants called."""

    index: int
    """Among the calls of its answer."""
    id: str
    name: str
    arguments: str
    """JSON."""


@dataclass(frozen=True)
class ExecutedTool:
    """A function that the server itself called."""

    index: int
    """Among those of its answer."""
    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it."""
    output: str
    """What the model was told of it."""
    failed: bool


@dataclass(frozen=True)
class Piece:
    """Some of one answer: what has become certain since the piece before."""

    index: int
    """Of the answer."""
    text: str = ""
    scores: tuple[TokenScore, ...] = ()
    """Of the tokens whose text is out, where they were asked for."""
    calls: tuple[ToolCall, ...] = ()
    """Each whole."""
    finish: Finish | None = None
    """With the last piece."""
    matched: str | None = None
    """The stop string that ended it."""
    drawn: int = 0
    """Tokens drawn for it, text or not."""
    cached: int = 0
    """Tokens of the prompt that the cache had; with the first piece."""
    executed: tuple[ExecutedTool, ...] = ()
    """Each with its result."""
    thought: str = ""
    """What the model thought before this text."""
    thinking: bool = False
    """Whether the tokens drawn for it were thoughts, or the marks around those."""


@dataclass(frozen=True)
class Said:
    """A stretch of an answer that is text, or thought."""

    text: str
    is_thought: bool = False


Part = Said | ToolCall | ExecutedTool


def parts_of(pieces: Sequence[Piece]) -> list[Part]:
    """What an answer is made of, in its order: texts, thoughts and calls; an empty one of an empty text."""
    parts: list[Part] = []
    for piece in pieces:
        for text, is_thought in ((piece.thought, True), (piece.text, False)):
            last = parts[-1] if parts else None
            if text and isinstance(last, Said) and last.is_thought == is_thought:
                parts[-1] = Said(last.text + text, is_thought)
            elif text:
                parts.append(Said(text, is_thought))
        parts += [*piece.calls, *piece.executed]
    return parts or [Said("")]


@dataclass
class Usage:
    """Tokens of a request: read, found in the cache, and written."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of them, those that were not computed again."""
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    """Of them, those that were thoughts."""

    @property
    def total_tokens(self) -> int:
        """Read and written."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Answered:
    """Who answers, the same in every part of an answer."""

    id: str
    created: int
    """Seconds since 1970."""
    model: str
    fingerprint: str | None
    """Of weights and version: the same fingerprint, seed and request give the same text."""
    citations: tuple[Citation, ...] | None = None
    """What the marks of the passages before the question stand for; None: there was no search."""
    sampling: SamplingConfig | None = None
    """With what settings."""
    echoed: Mapping[str, Any] = field(default_factory=dict)
    """Other settings of the request, in its own words, where its endpoint tells them again."""
