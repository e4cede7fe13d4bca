"""The model that gives an index its vectors: opened, remembered there, and known again."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from llmkit.errors import DataError, MissingError
from llmkit.formats.digest import digest_bytes
from llmkit.progress import Progress
from llmkit.retrieve.store import Store
from llmkit.retrieve.vectors import create_vectors, has_vectors, put_vectors, without_vectors

if TYPE_CHECKING:
    from llmkit.retrieve.embed import Embedder

_AT_ONCE = 256
"""Passages that are embedded together: enough to sort them by length."""
_NAME = "embedding"


class Embedding(msgspec.Struct, frozen=True):
    """What an index remembers of its model."""

    model: str
    """Where it was."""
    sha256: str
    """Of its weights and its tokenizer."""
    width: int
    """Numbers of a vector."""


@dataclass(frozen=True)
class OpenEmbedder:
    """A model that makes vectors, and which one it is."""

    embedder: "Embedder"
    embedding: Embedding


def embedding_of(store: Store) -> Embedding | None:
    """The model of an index's vectors; None: it has none."""
    told = store.setting(_NAME)
    return None if told is None else msgspec.json.decode(told, type=Embedding)


def open_embedder(model: Path, device: str, made: Embedding | None, where: Path) -> OpenEmbedder:
    """Open a model to make vectors.

    Args:
        model: a folder or a GGUF file.
        device: as of `choose_device`.
        made: what the index remembers; None: it has no vectors yet.
        where: the index, for errors.

    Raises:
        DataError: another model than the index's.
        MissingError, ConfigError, DataError: see `open_inspected`.
    """
    from llmkit.model.fingerprint import model_fingerprint
    from llmkit.retrieve.embed import Embedder
    from llmkit.workflows.inspect_attention_open import InspectOptions, open_inspected

    opened = open_inspected(InspectOptions(model=model, device=device))
    weights = model_fingerprint(model, opened.model.config)
    sha256 = digest_bytes(f"{weights} {opened.tokenizer.sha256}".encode())
    if made is not None and made.sha256 != sha256:
        raise DataError(
            f"{model}: not the model that {where} has its vectors from ({made.model})",
            hint=f"name that one, or make {where} again: --embed {model} --force",
        )
    embedder = Embedder(opened.model, opened.encoder)
    return OpenEmbedder(embedder, Embedding(str(model.resolve()), sha256, embedder.width))


def open_embedder_of(store: Store, model: Path | None, device: str, where: Path) -> OpenEmbedder:
    """Open the model that an index has its vectors from.

    Args:
        store: the index.
        model: where it is now; None: where it was.
        device, where: see `open_embedder`.

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
    if model is None and not Path(made.model).exists():
        raise MissingError(
            f"{made.model}: not there any more, and {where} has its vectors from it",
            hint="say where it is now: --embed MODEL",
        )
    return open_embedder(model or Path(made.model), device, made, where)


def give_vectors(store: Store, opened: OpenEmbedder, progress: Progress) -> int:
    """Give a vector to each passage that has none; returns to how many. Kept by `Store.commit`."""
    if not has_vectors(store.database):
        told = msgspec.json.encode(opened.embedding).decode()
        store.database.execute("INSERT INTO meta VALUES (?, ?)", (_NAME, told))  # begins a transaction
        create_vectors(store.database)
    done = 0
    for rows in without_vectors(store.database, _AT_ONCE):
        vectors = opened.embedder.embed([text for _, text in rows])
        put_vectors(store.database, [number for number, _ in rows], vectors)
        done += len(rows)
        progress.update(done, None, embedded=done)
    return done
