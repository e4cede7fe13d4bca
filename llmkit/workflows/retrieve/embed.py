"""The model that gives an index its vectors, here or at a server: opened, and known again."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.digest import digest_bytes
from llmkit.formats.key_file import read_key
from llmkit.retrieve.store import Store
from llmkit.workflows.retrieve.embedding import Embedding, EmbedOptions, embedding_of

if TYPE_CHECKING:
    from llmkit.retrieve.embed_remote import RemoteEmbedder
    from llmkit.workflows.generate.job import Job

_LEAST_COSINE = 0.99
"""Of a text's vector now and then: less, and it is another model, whatever the server calls it."""


class Embedder(Protocol):
    """What makes vectors."""

    width: int
    """Numbers of a vector."""

    def embed(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Vectors (N, width) of passages, of length 1; of one without a token, zeros."""

    def embed_query(self, query: str, /) -> NDArray[np.float32]:
        """The vector (width,) of a query."""


@dataclass(frozen=True)
class OpenEmbedder:
    """A model that makes vectors, and which one it is."""

    embedder: Embedder
    embedding: Embedding
    close: Callable[[], None] = lambda: None
    """Gives back what it holds of a server."""


def open_embedder(
    options: EmbedOptions, made: Embedding | None, where: Path, *, seconds: float | None = None
) -> OpenEmbedder:
    """Open a model to make vectors.

    Args:
        options: a folder or a GGUF file, or a server.
        made: what the index remembers; None: it has no vectors yet.
        where: the index, for errors.
        seconds: that a server may take for the vector of a query; None: for many passages, which take longer.

    Raises:
        DataError: another model than the index's.
        RemoteError: see `RemoteEmbedder`.
        MissingError, ConfigError, DataError: see `open_inspected`.
    """
    if options.url is not None:
        return _open_remote(options, options.url, made, where, seconds)
    assert options.model is not None
    return _open_local(options.model, options.device, made, where)


def plan_embedder(options: EmbedOptions, made: Embedding | None, where: Path) -> Embedding:
    """The model that `open_embedder` would open, after the same checks; weights are not read.

    Raises:
        MissingError, ConfigError, DataError, RemoteError: see `open_embedder`.
    """
    if options.url is not None:
        with closing(_open_remote(options, options.url, made, where, None)) as opened:
            return opened.embedding
    from llmkit.train.hardware import choose_device
    from llmkit.workflows.model_job import JobOptions, open_model_job

    assert options.model is not None
    job = open_model_job(JobOptions(model=options.model, device=options.device))
    choose_device(options.device)
    return _embedding_by(options.model, job, made, where)


def _open_local(model: Path, device: str, made: Embedding | None, where: Path) -> OpenEmbedder:
    from llmkit.retrieve.embed import Embedder
    from llmkit.workflows.inspect_attention.open import InspectOptions, open_inspected

    opened = open_inspected(InspectOptions(model=model, device=device))
    embedding = _embedding_by(model, opened.job, made, where)
    return OpenEmbedder(Embedder(opened.model, opened.encoder, opened.job.pooling), embedding)


def _embedding_by(model: Path, job: "Job", made: Embedding | None, where: Path) -> Embedding:
    from llmkit.model.fingerprint import model_fingerprint

    assert job.tokenizer is not None
    identity = f"{model_fingerprint(model, job.model)} {job.tokenizer.sha256}"
    if job.pooling.is_told:
        identity += f" {job.pooling.mode} {job.pooling.passage}"
    sha256 = digest_bytes(identity.encode())
    if made is not None and made.sha256 != sha256:
        raise _another(str(model), made, where, "name that one")
    mode = job.pooling.mode if job.pooling.is_told else ""
    return Embedding(str(model.resolve()), sha256, job.model.hidden_size, pooling=mode)


def _open_remote(
    options: EmbedOptions, url: str, made: Embedding | None, where: Path, seconds: float | None
) -> OpenEmbedder:
    from llmkit.retrieve.embed_remote import BULK_SECONDS, RemoteEmbedder  # httpx

    flags = options.flags if seconds is not None else replace(options.flags, seconds=None)
    embedder = RemoteEmbedder(
        url, model=options.name, key=_key(options), seconds=seconds or BULK_SECONDS, flags=flags
    )
    with ExitStack() as stack:
        stack.callback(embedder.close)
        told = Embedding(embedder.name, "", embedder.width, url, tuple(map(float, embedder.probe)))
        if made is not None:
            _require_same(embedder, made, options, where)
        return OpenEmbedder(embedder, told, stack.pop_all().close)


def _require_same(embedder: "RemoteEmbedder", made: Embedding, options: EmbedOptions, where: Path) -> None:
    """Raises DataError where this is not the model that made an index's vectors."""
    url, flags = str(options.url), options.flags
    if not made.url:
        hint = f"leave {flags.embed_url} out" if flags.embed is None else f"{flags.embed} {made.model}"
        raise _another(url, made, where, hint)
    named = f"{flags.embed_name} {made.model}"
    if made.width != embedder.width:
        raise DataError(
            f"{url}: vectors of {embedder.width} numbers, and those of {where} have {made.width}",
            hint=f"{named}, or make {where} again with --force",
        )
    if float(np.dot(made.probe, embedder.probe)) < _LEAST_COSINE:
        raise _another(url, made, where, f"{flags.embed_url} {made.url} {named}")


def _key(options: EmbedOptions) -> str | None:
    return None if options.key is None else read_key(options.key, options.flags.embed_key)


def _another(given: str, made: Embedding, where: Path, hint: str) -> DataError:
    return DataError(
        f"{given}: not the model that {where} has its vectors from ({made.model})",
        hint=f"{hint}, or make {where} again with --force",
    )


def open_embedder_of(store: Store, options: EmbedOptions, where: Path, *, seconds: float) -> OpenEmbedder:
    """Open the model that an index has its vectors from.

    Args:
        store: the index.
        options: where it is now; of neither a model nor a server, where it was.
        where, seconds: see `open_embedder`.

    Raises:
        MissingError: the index has no vectors, or their model is not where it was.
        DataError, ConfigError: see `open_embedder`.
    """
    made = embedding_of(store)
    return open_embedder(_where_it_is(options, made, where), made, where, seconds=seconds)


def check_embedder_of(store: Store, options: EmbedOptions, where: Path) -> None:
    """What `open_embedder_of` finds out before it reads a weight or asks a server.

    Raises:
        MissingError, DataError, ConfigError, UsageError: see there.
    """
    made = embedding_of(store)
    found = _where_it_is(options, made, where)
    if found.url is None:
        plan_embedder(found, made, where)
    else:
        check_server(found)


def check_server(options: EmbedOptions) -> None:
    """Check how a server is named and that its key is there; it is not asked.

    Raises:
        UsageError, MissingError, DataError: that cannot be.
    """
    from llmkit.retrieve.embed_remote import server_address  # httpx

    if options.url is not None:
        server_address(options.url, options.flags)
    _key(options)


def _where_it_is(options: EmbedOptions, made: Embedding | None, where: Path) -> EmbedOptions:
    """The model that made an index's vectors: where `options` say, else where it was.

    Raises:
        MissingError: see `open_embedder_of`.
    """
    if made is None:
        raise MissingError(
            f"{where}: has no vectors",
            hint=f"llmkit retrieve index -o {where} --add --embed MODEL gives it some",
        )
    if options.is_given:
        return options
    if made.url:
        return replace(options, url=made.url, name=options.name or made.model or None)
    if not Path(made.model).exists():
        raise MissingError(
            f"{made.model}: not there any more, and {where} has its vectors from it",
            hint="put it there again"
            if options.flags.embed is None
            else f"say where it is now: {options.flags.embed} MODEL",
        )
    return replace(options, model=Path(made.model))


def model_of_vectors(
    options: EmbedOptions, made: Embedding | None, out: Path, *, grows: bool
) -> EmbedOptions | None:
    """The model for passages that have no vector; None where there are none, or the index has no vectors.

    Args:
        options: what is asked for.
        made: what gave the index its vectors; None: it has none.
        out: the index.
        grows: whether documents come.

    Raises:
        UsageError: an option has nothing to say.
        MissingError: the model is not where it was.
    """
    if not options.is_given and (options.name or options.key) and (made is None or not made.url):
        raise UsageError(
            "--embed-name and --embed-key are of a server, and none is given", hint="--embed-url URL"
        )
    asked = options if options.is_given else _where_it_is(options, made, out) if grows and made else None
    if options.device != "auto" and (asked is None or asked.url is not None):
        raise UsageError(f"--device {options.device}: no model runs here", hint="--embed MODEL")
    return asked
