"""The model that gives an index its vectors, here or at a server: opened, remembered there, known again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.digest import digest_bytes
from llmkit.formats.key_file import read_key
from llmkit.progress import Progress
from llmkit.retrieve.store import Store
from llmkit.retrieve.vectors import create_vectors, has_vectors, put_vectors, without_vectors

_AT_ONCE = 256
"""Passages that are embedded together: enough to sort them by length."""
_NAME = "embedding"
_LEAST_COSINE = 0.99
"""Of a text's vector now and then: less, and it is another model, whatever the server calls it."""


class Embedder(Protocol):
    """What makes vectors."""

    width: int
    """Numbers of a vector."""

    def embed(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Vectors (N, width) of length 1; of a text without a token, zeros."""


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

    def __post_init__(self) -> None:
        """Raises UsageError where two are given."""
        if self.model is not None and self.url is not None:
            raise UsageError("--embed and --embed-url exclude each other", hint="leave one of them out")
        if self.model is not None and (self.name is not None or self.key is not None):
            flag = "--embed-key" if self.name is None else "--embed-name"
            raise UsageError(f"{flag} is of a server, not of --embed", hint="--embed-url URL")

    @property
    def is_given(self) -> bool:
        """Whether it is said what makes vectors."""
        return self.model is not None or self.url is not None


@dataclass(frozen=True)
class OpenEmbedder:
    """A model that makes vectors, and which one it is."""

    embedder: Embedder
    embedding: Embedding


def embedding_of(store: Store) -> Embedding | None:
    """The model of an index's vectors; None: it has none."""
    told = store.setting(_NAME)
    return None if told is None else msgspec.json.decode(told, type=Embedding)


def open_embedder(options: EmbedOptions, made: Embedding | None, where: Path) -> OpenEmbedder:
    """Open a model to make vectors.

    Args:
        options: a folder or a GGUF file, or a server.
        made: what the index remembers; None: it has no vectors yet.
        where: the index, for errors.

    Raises:
        DataError: another model than the index's.
        RemoteError: see `RemoteEmbedder`.
        MissingError, ConfigError, DataError: see `open_inspected`.
    """
    if options.url is not None:
        return _open_remote(options, options.url, made, where)
    assert options.model is not None
    return _open_local(options.model, options.device, made, where)


def _open_local(model: Path, device: str, made: Embedding | None, where: Path) -> OpenEmbedder:
    from llmkit.model.fingerprint import model_fingerprint
    from llmkit.retrieve.embed import Embedder
    from llmkit.workflows.inspect_attention.open import InspectOptions, open_inspected

    opened = open_inspected(InspectOptions(model=model, device=device))
    weights = model_fingerprint(model, opened.model.config)
    sha256 = digest_bytes(f"{weights} {opened.tokenizer.sha256}".encode())
    if made is not None and made.sha256 != sha256:
        raise _another(str(model), made, where, "name that one")
    embedder = Embedder(opened.model, opened.encoder)
    return OpenEmbedder(embedder, Embedding(str(model.resolve()), sha256, embedder.width))


def _open_remote(options: EmbedOptions, url: str, made: Embedding | None, where: Path) -> OpenEmbedder:
    from llmkit.retrieve.embed_remote import RemoteEmbedder  # httpx

    key = None if options.key is None else read_key(options.key, "--embed-key")
    embedder = RemoteEmbedder(url, model=options.name, key=key)
    told = Embedding(embedder.name, "", embedder.width, url, tuple(map(float, embedder.probe)))
    if made is not None:
        if not made.url:
            raise _another(url, made, where, f"--embed {made.model}")
        if made.width != embedder.width:
            raise DataError(
                f"{url}: vectors of {embedder.width} numbers, and those of {where} have {made.width}",
                hint=f"--embed-name {made.model}, or make {where} again with --force",
            )
        if float(np.dot(made.probe, embedder.probe)) < _LEAST_COSINE:
            raise _another(url, made, where, f"--embed-url {made.url} --embed-name {made.model}")
    return OpenEmbedder(embedder, told)


def _another(given: str, made: Embedding, where: Path, hint: str) -> DataError:
    return DataError(
        f"{given}: not the model that {where} has its vectors from ({made.model})",
        hint=f"{hint}, or make {where} again with --force",
    )


def open_embedder_of(store: Store, options: EmbedOptions, where: Path) -> OpenEmbedder:
    """Open the model that an index has its vectors from.

    Args:
        store: the index.
        options: where it is now; of neither a model nor a server, where it was.
        where: see `open_embedder`.

    Raises:
        MissingError: the index has no vectors, or their model is not where it was.
        DataError, ConfigError: see `open_embedder`.
    """
    made = embedding_of(store)
    if made is None:
        raise MissingError(
            f"{where}: has no vectors",
            hint=f"llmkit retrieve index -o {where} --add --embed MODEL gives it some",
        )
    if options.is_given:
        return open_embedder(options, made, where)
    if made.url:
        return open_embedder(
            replace(options, url=made.url, name=options.name or made.model or None), made, where
        )
    if not Path(made.model).exists():
        raise MissingError(
            f"{made.model}: not there any more, and {where} has its vectors from it",
            hint="say where it is now: --embed MODEL",
        )
    return open_embedder(replace(options, model=Path(made.model)), made, where)


def give_vectors(store: Store, opened: OpenEmbedder, progress: Progress) -> int:
    """Give a vector to each passage that has none; returns to how many. Kept by `Store.commit`."""
    if not has_vectors(store.database):
        told = msgspec.json.encode(opened.embedding).decode()
        store.database.execute("INSERT INTO meta VALUES (?, ?)", (_NAME, told))  # begins a transaction
        create_vectors(store.database)
    store.flush()
    done = 0
    for rows in without_vectors(store.database, _AT_ONCE):
        vectors = opened.embedder.embed([text for _, text in rows])
        put_vectors(store.database, [number for number, _ in rows], vectors)
        done += len(rows)
        progress.update(done, None, embedded=done)
    return done
