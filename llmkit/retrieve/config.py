"""How documents are cut into passages, and how passages are searched for. No numpy: flags import it."""

from dataclasses import dataclass
from math import inf
from typing import Literal

from llmkit.errors import ConfigError

By = Literal["words", "meaning", "both"]
"""What a search goes by: the words of a query, its vector, or both."""
RANK = 5
"""Added to each place when rankings are fused. With 1 to 10, the right passage of 3,400 questions
(tests/bench/README.md) is more often among ten than with the customary 60."""
MEANING_WEIGHT = 0.8
"""Of the ranking by vectors of an embedding model, beside that by words, which has the rest."""
HIDDEN_STATES_WEIGHT = 0.5
"""Of vectors that are means of a language model's hidden states: words are the better half there."""

SEARCH_SECONDS = 30.0
"""That a server may take for its part of a search, tries and waits included."""


@dataclass(frozen=True, kw_only=True)
class SearchFlags:
    """What the flags of a search are called where it was asked for: errors name them. None: there is none."""

    by: str = "--by"
    embed: str | None = "--embed"
    embed_url: str = "--embed-url"
    embed_name: str = "--embed-name"
    embed_key: str = "--embed-key"
    key: str | None = "--index-key"
    seconds: str | None = "--index-timeout"
    fewer: str = "ask for fewer passages: -k N"
    """A whole hint."""

    @property
    def embed_hint(self) -> str:
        """How to say what makes vectors."""
        url = f"{self.embed_url} URL"
        return url if self.embed is None else f"{url}, or {self.embed} MODEL"


SEARCH_FLAGS = SearchFlags()
"""Of `llmkit retrieve`."""


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """How documents are cut."""

    chunk: int = 256
    """Most tokens of a passage; without a tokenizer a token counts for four characters."""
    overlap: int = 32
    """Tokens that a passage repeats of the one before."""
    field: str = "text"
    """The key of the text in jsonl."""

    def __post_init__(self) -> None:
        """Refuse sizes with which nothing can be cut."""
        if self.chunk < 1:
            raise ConfigError(f"passages of {self.chunk} tokens", hint="give --chunk 1 or more")
        if self.overlap < 0 or 2 * self.overlap >= self.chunk:
            raise ConfigError(
                f"an overlap of {self.overlap} tokens leaves too little of passages of {self.chunk}",
                hint=f"give --overlap below {(self.chunk + 1) // 2}",
            )


@dataclass(frozen=True, kw_only=True)
class Bm25Config:
    """The two parameters of retrieve/bm25.py."""

    k1: float = 1.5
    """How soon more of the same word stops to count."""
    b: float = 0.75
    """How much a long passage has to have more: 0 not at all, 1 in proportion."""

    def __post_init__(self) -> None:
        if not 0 <= self.k1 < inf:
            raise ConfigError(f"k1 is {self.k1}", hint="give --k1 0 or more; 1.2 to 2 is usual")
        if not 0 <= self.b <= 1:
            raise ConfigError(f"b is {self.b}", hint="give --b between 0 and 1; 0.75 is usual")
