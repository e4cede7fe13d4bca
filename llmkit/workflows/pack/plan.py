"""What a run of `llmkit pack` would read, write and take, from a look at the beginning of its input."""

import time
from itertools import takewhile

import msgspec

from llmkit.formats.documents import Document
from llmkit.formats.jsonl import encode_line
from llmkit.formats.streams import input_bytes
from llmkit.machine import free_bytes
from llmkit.tokens.config import PackConfig
from llmkit.workflows.input_sample import InputSample, as_read
from llmkit.workflows.pack.input import Encoded, PackJob, encode_packable, read_packable
from llmkit.workflows.pack.pack import PackSources, open_job
from llmkit.workflows.pack.spool import id_type_of

_COMPRESSION = 0.6  # of ids in a shard, about: 0.47 measured for English, less for other text


class PackPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The report of --dry-run. What starts with `about_` is scaled up from the first megabyte of input; None
    where the input is stdin."""

    schema: str = "llmkit.pack-plan/1"
    inputs: list[str]
    input_bytes: int | None
    out: str
    tokenizer_sha256: str | None
    boundary: str
    seq_len: int
    strategy: str
    about_tokens: int | None
    about_rows: int | None
    about_output_bytes: int | None
    about_seconds: float | None
    disk_bytes: int | None
    """Output and spool together, while it works."""
    disk_free_bytes: int


def plan_pack(sources: PackSources, config: PackConfig) -> PackPlan:
    """What `pack_files` would do, after the same checks; writes nothing.

    Raises:
        UsageError, MissingError, DataError: as `pack_files`; also bad input within the first megabyte.
    """
    job = open_job(sources, config)
    size = input_bytes(job.inputs)
    tokens, seconds = (None, None) if size is None else _extrapolate(job, size)
    width = 2 if id_type_of(job.tokenizer) == "u2" else 4
    output = None if tokens is None else int(tokens * width * _COMPRESSION)
    return PackPlan(
        inputs=[str(path) for path in job.inputs],
        input_bytes=size,
        out=str(sources.out),
        tokenizer_sha256=None if job.tokenizer is None else job.tokenizer.sha256,
        boundary=job.markers.name,
        seq_len=config.seq_len,
        strategy=config.strategy,
        about_tokens=tokens,
        about_rows=None if tokens is None else -(-tokens // config.row_length),
        about_output_bytes=output,
        about_seconds=seconds,
        disk_bytes=None if tokens is None or output is None else tokens * width + output,
        disk_free_bytes=free_bytes(sources.out),
    )


def _extrapolate(job: PackJob, input_bytes: int) -> tuple[int, float]:
    """Tokens and seconds of all the input, as its beginning has them."""
    sample = InputSample()
    documents = list(takewhile(lambda one: sample.takes(_as_read(one)), read_packable(job, None)))
    begin = time.perf_counter()
    tokens = sum(len(document.tokens) for document in encode_packable(documents, job))
    seconds = time.perf_counter() - begin
    scale = sample.scale(job.inputs, input_bytes)
    return int(tokens * scale), round(seconds * scale, 3)


def _as_read(document: Document) -> bytes:
    """The same of a document in tokens."""
    if isinstance(document, Encoded) and document.tokens is not None:
        if document.id_bytes:
            return bytes(document.id_bytes * len(document.tokens.tokens))
        return encode_line(document.tokens.tokens.tolist())
    return as_read(document)
