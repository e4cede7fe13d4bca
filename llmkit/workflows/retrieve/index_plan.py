"""What a run of `llmkit retrieve index` would read and write: its first megabyte, indexed in memory."""

import sqlite3
import time
from collections.abc import Collection
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import MissingError
from llmkit.formats.atomic import refuse_existing
from llmkit.formats.documents import list_files, read_documents
from llmkit.formats.json_text import printable
from llmkit.formats.rejects import check_rejects
from llmkit.formats.streams import input_bytes
from llmkit.machine import free_bytes
from llmkit.retrieve.config import IndexConfig
from llmkit.retrieve.store import Store
from llmkit.workflows.input_sample import InputSample, as_read
from llmkit.workflows.retrieve.embed import model_of_vectors, plan_embedder
from llmkit.workflows.retrieve.embedding import EmbedOptions, embedding_of
from llmkit.workflows.retrieve.index import (
    NO_EMBED,
    MeasureOf,
    add_documents,
    cut_of,
    index_settings,
    measure_of,
)
from llmkit.workflows.retrieve.index_file import open_index


class IndexPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The report of --dry-run. What starts with `about_` is scaled up from the first megabyte of input; None
    where the input is stdin. Vectors are counted in `about_vector_bytes` alone."""

    schema: str = "llmkit.retrieve.index-plan/1"
    inputs: list[str]
    input_bytes: int | None
    out: str
    changes: bool
    """Whether an index that is there is changed."""
    chunk: int
    overlap: int
    tokenizer_sha256: str | None
    embedding: str | None = None
    """What gives passages vectors; None: they get none."""
    about_documents: int | None = None
    about_passages: int | None = None
    about_output_bytes: int | None = None
    about_vector_bytes: int | None = None
    about_seconds: float | None = None
    disk_free_bytes: int


def plan_index(
    inputs: list[Path],
    out: Path,
    config: IndexConfig,
    *,
    given: Collection[str] = (),
    tokenizer: Path | None = None,
    embed: EmbedOptions = NO_EMBED,
    add: bool = False,
    delete: tuple[str, ...] = (),
    rejects: Path | None = None,
    force: bool = False,
) -> IndexPlan:
    """What `index_documents` would do, after the same checks; no weight is read, and nothing written.

    Raises:
        UsageError, MissingError, DataError: as `index_documents`; also bad input within the first megabyte.
    """
    files, settings = list_files(inputs), index_settings(config, tokenizer)
    read = [*inputs, *files, *embed.files, *([tokenizer] if tokenizer else [])]
    check_rejects(rejects, force=force, inputs=read, out=out)
    changes, made, waiting = add or bool(delete), None, 0
    if changes:
        with open_index(out) as store:
            config = cut_of(store, settings, out, given)
            made = embedding_of(store)
            waiting = 0 if made else store.num_passages
            for identity in delete:
                if not store.digests_of([identity]):
                    raise MissingError(f"{out}: no document {identity!r}", hint=f"llmkit show {out}")
    else:
        refuse_existing(out, force=force, inputs=read, is_file=True)
    asked = model_of_vectors(embed, made, out, grows=bool(inputs))
    embedding = None if asked is None else plan_embedder(asked, made, out)
    size = input_bytes(files)
    about = {} if size is None else _extrapolate(files, size, settings, measure_of(config, tokenizer))
    if about and embedding is not None:
        about["about_vector_bytes"] = 2 * embedding.width * (about["about_passages"] + waiting)
    return IndexPlan(
        inputs=[printable(str(path)) for path in files],
        input_bytes=size,
        out=str(out),
        changes=changes,
        chunk=config.chunk,
        overlap=config.overlap,
        tokenizer_sha256=settings["tokenizer_sha256"],
        disk_free_bytes=free_bytes(out),
        embedding=None if embedding is None else embedding.model or embedding.url,
        **about,
    )


def _extrapolate(
    files: list[Path], input_bytes: int, settings: dict[str, Any], measure: MeasureOf
) -> dict[str, Any]:
    """What the plan has about all the input, as its beginning has it."""
    sample = InputSample()
    read = read_documents(files, text_field=settings["field"])
    documents = list(takewhile(lambda one: sample.takes(as_read(one)), read))
    with closing(sqlite3.connect(":memory:")) as database:
        store = Store.create(database, settings)
        begin = time.perf_counter()
        add_documents(store, iter(documents), measure, settings["field"], replace=True)
        store.commit()
        seconds = time.perf_counter() - begin
        pages, page = (database.execute(f"PRAGMA page_{name}").fetchone() for name in ("count", "size"))
        size = pages[0] * page[0]
        counts = {"documents": store.num_documents, "passages": store.num_passages, "output_bytes": size}
    scale = sample.scale(files, input_bytes)
    told = {f"about_{name}": int(count * scale) for name, count in counts.items()}
    return told | {"about_seconds": round(seconds * scale, 3)}
