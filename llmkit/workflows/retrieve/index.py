"""llmkit retrieve index: documents in, an index file out, or one that is there brought up to date."""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.digest import digest_bytes, digest_file
from llmkit.formats.documents import Document, in_batches, list_files, read_documents
from llmkit.formats.json_text import printable
from llmkit.formats.rejects import bad_lines
from llmkit.progress import SILENT, Progress
from llmkit.retrieve.config import IndexConfig
from llmkit.retrieve.passages import (
    CHARACTERS_PER_TOKEN,
    CharacterMeasure,
    Measure,
    TokenMeasure,
    passages,
)
from llmkit.retrieve.store import Store
from llmkit.retrieve.vectors import create_vectors, has_vectors, put_vectors, without_vectors
from llmkit.workflows.retrieve.embed import OpenEmbedder, model_of_vectors, open_embedder
from llmkit.workflows.retrieve.embedding import EMBEDDING, EmbedOptions, embedding_of
from llmkit.workflows.retrieve.index_file import changed_index, created_index

MeasureOf = Callable[[str], Measure]
NO_EMBED = EmbedOptions()
_AT_ONCE = 32
"""Documents that are looked up together: few, so that they are still in the cache when they are written."""
_AT_ONCE_CHARACTERS = 1 << 20
"""Of them, as a rule."""
_VECTORS_AT_ONCE = 256
"""Passages that are embedded together: enough to sort them by length."""


class IndexReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and what the index has now."""

    schema: str = "llmkit.retrieve.index/1"
    added: int
    """Documents that were not there, or had another text."""
    updated: int = 0
    """Documents that were there with the same text, and with other keys beside it."""
    unchanged: int
    """Documents that were there just so."""
    deleted: int = 0
    embedded: int = 0
    """Passages that were given a vector."""
    rejected: int = 0
    """Malformed lines."""
    documents: int = 0
    passages: int = 0
    text_bytes: int = 0
    """Of what was read."""
    size_bytes: int = 0
    """Of the index file."""


def index_documents(
    inputs: list[Path],
    out: Path,
    config: IndexConfig,
    *,
    given: Collection[str] = (),
    tokenizer: Path | None = None,
    embed: EmbedOptions = NO_EMBED,
    add: bool = False,
    delete: tuple[str, ...] = (),
    skip_bad: bool = False,
    rejects: Path | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> IndexReport:
    """Make an index, or bring one up to date.

    Args:
        inputs: documents; may be none where something is deleted.
        out: the index file. It appears when it is whole; `add` and `delete` change it in one transaction.
        config: how documents are cut; an index that is there has its own cut.
        given: fields of `config` that an index which is there must have too.
        tokenizer: measures passages.
        embed: what gives passages vectors; nothing: that of an index which has some, else none.
        add: add to an index that is there; a document with the same id and another text takes its place,
            one with other keys keeps its passages.
        delete: ids of documents to take out first.
        skip_bad, rejects: as everywhere, see formats/rejects.py.
        force: replace what is there.
        progress: hears of bytes read.

    Raises:
        UsageError: `out` exists and neither `add`, `delete` nor `force` is given, or it is cut otherwise.
        MissingError: an input, a document to delete or the index to add to is not there.
        DataError: a malformed line; a tokenizer or a model other than the index was made with.
    """
    read = [*inputs, *list_files(inputs), *embed.files, *([tokenizer] if tokenizer else [])]
    files: dict[str, Any] = {"force": force, "inputs": read}
    settings = index_settings(config, tokenizer)
    changes = changed_index(out) if add or delete else created_index(out, settings, **files)
    with (
        bad_lines("retrieve index", skip=skip_bad, rejects=rejects, out=out, **files) as bad,
        changes as store,
        ExitStack() as stack,
    ):
        measure = measure_of(cut_of(store, settings, out, given), tokenizer)
        for identity in delete:
            if not store.delete(identity):
                raise MissingError(f"{out}: no document {identity!r}", hint=f"llmkit show {out}")
        made = embedding_of(store)
        asked = model_of_vectors(embed, made, out, grows=bool(inputs))
        embedder = None
        if asked is not None:
            embedder = stack.enter_context(closing(open_embedder(asked, made, out)))
        documents = read_documents(inputs, text_field=config.field, on_bad=bad.on_bad)
        report = add_documents(store, documents, measure, config.field, replace=add, progress=progress)
        embedded = 0 if embedder is None else give_vectors(store, embedder, progress)
        store.commit()
        report = msgspec.structs.replace(
            report,
            deleted=len(delete),
            embedded=embedded,
            rejected=bad.count,
            documents=store.num_documents,
            passages=store.num_passages,
        )
    return msgspec.structs.replace(report, size_bytes=out.stat().st_size)


def add_documents(
    store: Store,
    documents: Iterator[Document],
    measure: MeasureOf,
    field: str,
    *,
    replace: bool,
    progress: Progress = SILENT,
) -> IndexReport:
    """Cut documents into passages, and put them into an index.

    Args:
        store: the index.
        documents: in order.
        measure: of a document's text.
        field: the key of their text, which is not kept a second time.
        replace: whether another text of an id that is there takes its place.
        progress: hears of bytes.

    Raises:
        DataError: an id with another text, without `replace`.
    """
    added = seen = updated = text_bytes = 0
    for batch in in_batches(documents, _AT_ONCE_CHARACTERS, _AT_ONCE):
        known = store.digests_of([document.id for document in batch])
        same = dict[str, bytes]()
        for document in batch:
            text = document.text
            content = text.encode()
            digest = digest_bytes(content)
            text_bytes += len(content)
            there = known.get(document.id)
            record = _record(document, field)
            if there == digest:
                seen += 1
                same[document.id] = record
                continue
            if there is not None:
                if not replace:
                    raise DataError(
                        f"{document.where}: a second document with the id {document.id!r} and another text",
                        hint="give each document its own id; --add lets the later text take the place",
                    )
                store.delete(document.id)
                same.pop(document.id, None)
            store.add(document.id, digest, record, text, passages(text, measure(text)))
            known[document.id] = digest
            added += 1
        updated += store.describe(same) if replace else 0
        progress.update(text_bytes, None, documents=added + seen)
    return IndexReport(added=added, updated=updated, unchanged=seen - updated, text_bytes=text_bytes)


def give_vectors(store: Store, opened: OpenEmbedder, progress: Progress) -> int:
    """Give a vector to each passage that has none; returns to how many. Kept by `Store.commit`."""
    if not has_vectors(store.database):
        told = msgspec.json.encode(opened.embedding).decode()
        store.database.execute("INSERT INTO meta VALUES (?, ?)", (EMBEDDING, told))  # begins a transaction
        create_vectors(store.database)
    store.flush()
    done = 0
    for rows in without_vectors(store.database, _VECTORS_AT_ONCE):
        vectors = opened.embedder.embed([text for _, text in rows])
        put_vectors(store.database, [number for number, _ in rows], vectors)
        done += len(rows)
        progress.update(done, None, embedded=done)
    return done


def _record(document: Document, field: str) -> bytes:
    """What is known of a document besides its id and its text."""
    if not document.record:
        return msgspec.json.encode({"source": printable(document.file)})
    return msgspec.json.encode(
        {name: value for name, value in document.record.items() if name not in ("id", field)}
    )


def index_settings(config: IndexConfig, tokenizer: Path | None) -> dict[str, Any]:
    """What an index keeps of how it was made.

    Raises:
        MissingError: there is no such tokenizer.
    """
    return {**asdict(config), "tokenizer_sha256": _digest(tokenizer)}


def measure_of(config: IndexConfig, tokenizer: Path | None) -> MeasureOf:
    """What tells how long the passages of a text may be: tokens, or letters where there is no tokenizer."""
    size, overlap = config.chunk, config.overlap
    if tokenizer is None:
        characters = CHARACTERS_PER_TOKEN
        return lambda text: CharacterMeasure(len(text), size * characters, overlap * characters)
    from llmkit.tokens.load import load_tokenizer  # the tokenizers library, only where there is one
    from llmkit.tokens.ordinary import ordinary_backend
    from llmkit.tokens.spans import token_spans

    loaded = load_tokenizer(tokenizer)
    backend = ordinary_backend(loaded)

    def of(text: str) -> Measure:
        import numpy as np

        ids = np.array(backend.encode(text, add_special_tokens=False).ids, np.uint32)
        return TokenMeasure(token_spans(loaded, backend, text, ids), len(text), size, overlap)

    return of


def cut_of(store: Store, settings: dict[str, Any], out: Path, given: Collection[str] = ()) -> IndexConfig:
    """How the index's documents are cut.

    Args:
        store: the index.
        settings: those of now, see `index_settings`.
        out: the index, for errors.
        given: names of settings that were asked for.

    Raises:
        UsageError: what was asked for is not what it has.
        DataError: its tokenizer is another, or is not given.
    """
    made = store.settings
    if made["tokenizer_sha256"] != settings["tokenizer_sha256"]:
        raise DataError(
            f"{out}: made {'with' if made['tokenizer_sha256'] else 'without'} a tokenizer, and not this one",
            hint="give --tokenizer as it was given then",
        )
    for name in given:
        if settings[name] != made[name]:
            raise UsageError(
                f"--{name} {settings[name]}: {out} has --{name} {made[name]}",
                hint="leave it out, or make the index again with --force",
            )
    return IndexConfig(chunk=made["chunk"], overlap=made["overlap"], field=settings["field"])


def _digest(tokenizer: Path | None) -> str | None:
    if tokenizer is None:
        return None
    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    if not file.is_file():
        raise MissingError(f"{tokenizer}: no tokenizer.json", hint="name a tokenizer's folder or file")
    return digest_file(file)
