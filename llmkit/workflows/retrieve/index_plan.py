"""What a run of `llmkit retrieve index` would read and write: its first megabyte, indexed in memory."""

import sqlite3
import time
from contextlib import closing
from itertools import takewhile
from pathlib import Path

import msgspec

from llmkit.errors import MissingError
from llmkit.formats.atomic import refuse_existing
from llmkit.formats.documents import Document, list_files, read_documents
from llmkit.formats.jsonl import encode_line
from llmkit.formats.streams import STDIO
from llmkit.machine import free_bytes
from llmkit.retrieve.config import IndexConfig
from llmkit.retrieve.store import Store
from llmkit.workflows.input_sample import InputSample
from llmkit.workflows.retrieve.index import add_documents, cut_of, index_settings, measure_of
from llmkit.workflows.retrieve.index_file import open_index


class IndexPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The report of --dry-run. What starts with `about_` is scaled up from the first megabyte of input; None
    where the input is stdin. Vectors are not counted."""

    schema: str = "llmkit.retrieve.index-plan/1"
    inputs: list[str]
    input_bytes: int | None
    out: str
    changes: bool
    """Whether an index that is there is changed."""
    chunk: int
    overlap: int
    tokenizer_sha256: str | None
    about_documents: int | None
    about_passages: int | None
    about_output_bytes: int | None
    about_seconds: float | None
    disk_free_bytes: int


def plan_index(
    inputs: list[Path],
    out: Path,
    config: IndexConfig,
    *,
    tokenizer: Path | None = None,
    add: bool = False,
    delete: tuple[str, ...] = (),
    force: bool = False,
) -> IndexPlan:
    """What `index_documents` would do, after the same checks but those of vectors; writes nothing.

    Raises:
        UsageError, MissingError, DataError: as `index_documents`; also bad input within the first megabyte.
    """
    files, settings = list_files(inputs), index_settings(config, tokenizer)
    changes = add or bool(delete)
    if changes:
        with open_index(out) as store:
            config = cut_of(store, settings, out)
            for identity in delete:
                if not store.digests_of([identity]):
                    raise MissingError(f"{out}: no document {identity!r}", hint=f"llmkit show {out}")
    else:
        refuse_existing(out, force=force, inputs=inputs)
    size = None if STDIO in files else sum(path.stat().st_size for path in files)
    about = None if size is None else _extrapolate(files, size, config, tokenizer)
    return IndexPlan(
        inputs=[str(path) for path in files],
        input_bytes=size,
        out=str(out),
        changes=changes,
        chunk=config.chunk,
        overlap=config.overlap,
        tokenizer_sha256=settings["tokenizer_sha256"],
        about_documents=None if about is None else about[0],
        about_passages=None if about is None else about[1],
        about_output_bytes=None if about is None else about[2],
        about_seconds=None if about is None else about[3],
        disk_free_bytes=free_bytes(out),
    )


def _extrapolate(
    files: list[Path], input_bytes: int, config: IndexConfig, tokenizer: Path | None
) -> tuple[int, int, int, float]:
    """Documents, passages, bytes and seconds of all the input, as its beginning has them."""
    sample = InputSample()
    read = read_documents(files, text_field=config.field)
    documents = list(takewhile(lambda one: sample.takes(_as_read(one)), read))
    measure = measure_of(config, tokenizer)
    with closing(sqlite3.connect(":memory:")) as database:
        store = Store.create(database, index_settings(config, tokenizer))
        begin = time.perf_counter()
        add_documents(store, iter(documents), measure, config.field, replace=True)
        store.commit()
        seconds = time.perf_counter() - begin
        pages, page = (database.execute(f"PRAGMA page_{name}").fetchone() for name in ("count", "size"))
        size = pages[0] * page[0]
        scale = sample.scale(files, input_bytes)
        counts = (store.num_documents, store.num_passages, size)
    num_documents, num_passages, num_bytes = (int(count * scale) for count in counts)
    return num_documents, num_passages, num_bytes, round(seconds * scale, 3)


def _as_read(document: Document) -> bytes:
    """About the bytes that a document took in its file."""
    return encode_line(document.record) if document.record else document.text.encode()
