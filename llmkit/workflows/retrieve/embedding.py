"""What makes an index's vectors: as it is asked for, and as the index remembers it."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from llmkit.errors import UsageError
from llmkit.retrieve.config import SEARCH_FLAGS, SearchFlags
from llmkit.retrieve.store import Store

EMBEDDING = "embedding"
"""The setting of an index that remembers its model."""


class Embedding(msgspec.Struct, frozen=True):
    """What an index remembers of its model."""

    model: str
    """Where it was; what a server called it."""
    sha256: str
    """Of its weights and its tokenizer; empty of a server's."""
    width: int
    """Numbers of a vector."""
    url: str = ""
    """Of its server; empty: it was here."""
    probe: tuple[float, ...] = ()
    """What a server's model made of a text that is always the same."""
    pooling: str = ""
    """Which tokens count, where the model's files say so."""

    @property
    def is_made_for_it(self) -> bool:
        """Whether the model is one that was made for vectors, as far as is known."""
        return bool(self.url or self.pooling)


@dataclass(frozen=True, kw_only=True)
class EmbedOptions:
    """What makes vectors. Of `model` and `url` one is given, or none: what made them before."""

    model: Path | None = None
    device: str = "auto"
    """Of the model."""
    url: str | None = None
    """Of a server with `/v1/embeddings`."""
    name: str | None = None
    """Which of its models."""
    key: Path | None = None
    """A file whose one line is the key that it asks for."""
    flags: SearchFlags = SEARCH_FLAGS
    """What errors call all this."""

    def __post_init__(self) -> None:
        """Raises UsageError where two are given."""
        flags = self.flags
        if self.model is not None and self.url is not None:
            raise UsageError(
                f"{flags.embed} and {flags.embed_url} exclude each other", hint="leave one of them out"
            )
        if self.model is not None and (self.name is not None or self.key is not None):
            flag = flags.embed_key if self.name is None else flags.embed_name
            what = f"of {flags.embed}" if flags.embed else f"of a model that is here ({self.model})"
            raise UsageError(f"{flag} is of a server, not {what}", hint=f"{flags.embed_url} URL")

    @property
    def is_given(self) -> bool:
        """Whether it is said what makes vectors."""
        return self.model is not None or self.url is not None

    @property
    def files(self) -> list[Path]:
        """What is read for it, which no output may be."""
        return [path for path in (self.model, self.key) if path is not None]


def embedding_of(store: Store) -> Embedding | None:
    """The model of an index's vectors; None: it has none."""
    told = store.setting(EMBEDDING)
    return None if told is None else msgspec.json.decode(told, type=Embedding)
