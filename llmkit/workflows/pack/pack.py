"""llmkit pack: spool the documents' ids, lay them out in rows, write the rows as shards."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.amount_text import plural
from llmkit.formats.atomic import atomic_folder, refuse_existing
from llmkit.formats.digest import digest_bytes, digest_file, digest_inputs
from llmkit.formats.documents import list_files
from llmkit.formats.json_text import encode_json
from llmkit.formats.make_rule import write_make_rule
from llmkit.formats.output_place import refuse_special
from llmkit.formats.provenance import Invocation, write_provenance
from llmkit.formats.rejects import bad_lines, check_rejects
from llmkit.formats.resumable import forget_partial, resumable_folder, stoppable
from llmkit.formats.shards import INDEX, ShardIndex
from llmkit.formats.streams import STDIO, is_stream
from llmkit.formats.token_files import index_of
from llmkit.progress import Progress
from llmkit.tokens.boundary import Markers, markers_of
from llmkit.tokens.config import PackConfig
from llmkit.tokens.gaps import GapMaker
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.version import __version__
from llmkit.workflows.pack.input import PackJob
from llmkit.workflows.pack.shards import write_shards
from llmkit.workflows.pack.spool import SPOOL, Tally, clear_spool, spool_documents

PACKAGES = ("numpy", "tokenizers", "zstandard")


@dataclass(frozen=True, kw_only=True)
class PackSources:
    """What to read and where to write."""

    inputs: Sequence[Path]
    out: Path
    tokenizer: Path | None = None
    field: str = "text"
    force: bool = False
    skip_bad: bool = False
    rejects: Path | None = None
    resume: bool = False
    workers: int | None = None
    """Threads that encode and compress; None: all cores."""
    make_rule: Path | None = None
    """Where make is told what the shards were made of."""


class PackReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    schema: str = "llmkit.pack/1"
    out: str
    rows: int
    seq_len: int
    tokens: int
    """Stored, padding not counted."""
    padding_tokens: int
    documents: int
    """In rows: read, less those empty or dropped."""
    cut_documents: int
    """Standing in more than one row."""
    long_documents: int
    """Longer than a row."""
    dropped_documents: int
    empty_documents: int
    lost_tokens: int
    """Of documents truncated or dropped, as --long asked."""
    fim_psm_documents: int
    """Told with a gap, as --fim asked: what precedes it first."""
    fim_spm_documents: int
    """The same, what follows it first."""
    bad_lines: int
    boundary: str
    dtype: str
    vocab_size: int
    shards: int
    size_bytes: int
    seconds: float


def pack_files(
    sources: PackSources, config: PackConfig, *, invocation: Invocation, progress: Progress
) -> PackReport:
    """Pack documents into rows of one length.

    Raises:
        UsageError: the output exists, is or holds an input, or a flag needs a tokenizer.
        DataError: bad input, or no tokens in it.
        StoppedResumable: SIGTERM, with `resume`.
    """
    begin = time.monotonic()
    job = open_job(sources, config)
    named = [path for path in sources.inputs if not is_stream(path)]
    inputs = digest_inputs([*named, *(beside for path in named if (beside := index_of(path)) is not None)])
    key = _key(sources, job, inputs) if sources.resume else None
    with _workplace(sources.out, key) as folder:
        spool_folder = folder / SPOOL
        with (
            bad_lines(
                "pack",
                skip=sources.skip_bad,
                rejects=sources.rejects,
                force=sources.force,
                inputs=job.inputs,
                out=sources.out,
            ) as bad,
            spool_documents(
                spool_folder, job, on_bad=bad.on_bad, is_kept=key is not None, progress=progress
            ) as (spool, tally),
        ):
            if not spool.state.tokens:
                told = ("stdin" if path == STDIO else str(path) for path in sources.inputs)
                raise DataError(
                    f"{', '.join(told)}: no tokens to pack (found {plural(tally.seen, 'document')})",
                    hint="name files with text or tokens in them",
                )
            index, cut = write_shards(folder, spool, job, progress)
        if len(named) < len(sources.inputs):  # what came from a stream is known by what was made of it
            inputs["stdin"] = digest_file(spool_folder / "tokens")
        clear_spool(spool_folder, folder)
        write_provenance(
            folder, invocation, inputs=inputs, tokenizer_sha256=index.tokenizer_sha256, packages=PACKAGES
        )
    if key is None:
        forget_partial(sources.out)
    if sources.make_rule is not None:
        read = [path for path in job.inputs if not is_stream(path)]
        own = [] if sources.tokenizer is None else list_files([sources.tokenizer])
        write_make_rule(sources.make_rule, sources.out / INDEX, [*read, *own])
    return _report(sources.out, index, tally, cut, bad.count, time.monotonic() - begin)


@contextmanager
def _workplace(out: Path, key: str | None) -> Iterator[Path]:
    """The folder to fill; one that outlives an interruption where there is a key."""
    if key is None:
        with atomic_folder(out) as folder:
            yield folder
        return
    with stoppable(out), resumable_folder(out, key) as folder:
        yield folder


def open_job(sources: PackSources, config: PackConfig) -> PackJob:
    """Open what is read, and find what is wrong before any work.

    Raises:
        UsageError, MissingError, DataError: as `pack_files`.
    """
    inputs = list_files(sources.inputs)
    own = [] if sources.tokenizer is None else [sources.tokenizer]
    refuse_existing(sources.out, force=sources.force, inputs=[*sources.inputs, *own])
    refuse_special(sources.out)
    if sources.make_rule is not None:
        refuse_existing(sources.make_rule, force=True, inputs=[*inputs, *own], is_file=True)
        if not sources.make_rule.absolute().parent.is_dir():
            raise MissingError(f"{sources.make_rule.parent}: no such folder", hint="make it, or name another")
    check_rejects(sources.rejects, force=sources.force, inputs=inputs, out=sources.out)
    tokenizer = None if sources.tokenizer is None else load_tokenizer(sources.tokenizer)
    markers = markers_of(config.boundary, tokenizer)
    return PackJob(
        inputs=inputs,
        tokenizer=tokenizer,
        markers=markers,
        config=config,
        field=sources.field,
        workers=sources.workers,
        gaps=_gaps(config, tokenizer, markers),
    )


def _gaps(config: PackConfig, tokenizer: Tokenizer | None, markers: Markers) -> GapMaker | None:
    if not config.fim:
        return None
    if tokenizer is None:
        raise UsageError("--fim needs a tokenizer, to know what marks a gap", hint="add -t TOKENIZER")
    return GapMaker(tokenizer, config, lambda one: len(markers.around(one)[0]) <= config.row_length)


def _key(sources: PackSources, job: PackJob, inputs: dict[str, str]) -> str:
    """What has to be the same for an interrupted job to be gone on with."""
    if any(map(is_stream, sources.inputs)):
        raise UsageError(
            "--resume: stdin or a pipe cannot be read a second time", hint="put it into a file and name that"
        )
    tokenizer = None if job.tokenizer is None else job.tokenizer.sha256
    parts = {"inputs": inputs, "config": job.config.key, "field": job.field, "tokenizer": tokenizer}
    return digest_bytes(encode_json(parts | {"version": __version__}))


def _report(out: Path, index: ShardIndex, tally: Tally, cut: int, bad: int, seconds: float) -> PackReport:
    return PackReport(
        out=str(out),
        rows=index.rows,
        seq_len=index.seq_len,
        tokens=index.tokens,
        padding_tokens=index.rows * index.row_length - index.tokens,
        documents=index.documents,
        cut_documents=cut,
        long_documents=tally.long,
        dropped_documents=tally.dropped,
        empty_documents=tally.empty,
        lost_tokens=tally.lost_tokens,
        fim_psm_documents=tally.fim_psm,
        fim_spm_documents=tally.fim_spm,
        bad_lines=bad,
        boundary=index.boundary,
        dtype=index.dtype,
        vocab_size=index.vocab_size,
        shards=len(index.shards),
        size_bytes=sum(entry.file_bytes for entry in index.shards),
        seconds=round(seconds, 3),
    )
