"""What a run of `llmkit dedup` would read, write and take, from a look at the beginning of its input."""

import time
from itertools import takewhile
from pathlib import Path

import msgspec

from llmkit.formats.jsonl import encode_line
from llmkit.formats.streams import input_bytes
from llmkit.machine import free_bytes
from llmkit.text.exact_pieces import split_pieces
from llmkit.text.minhash import band_keys, found_probability, signatures
from llmkit.text.shingles import shingle
from llmkit.text.spans import elements, windows
from llmkit.workflows.dedup.corpus import FACTS
from llmkit.workflows.dedup.dedup import flows, prepare
from llmkit.workflows.dedup.index import read_index
from llmkit.workflows.dedup.options import PIECES, DedupConfig, DedupSources, usual
from llmkit.workflows.dedup.pieces import piece_kind
from llmkit.workflows.dedup.read import good_documents, group_pieces
from llmkit.workflows.input_sample import InputSample
from llmkit.workflows.units import Piece, split_inputs

_BASE_BYTES = 60 << 20
"""Python, numpy, and the batch of texts at hand."""
_PER_DOCUMENT = {"near": 60, "exact": 64}
"""Bytes of memory at the peak: sorting a band, or grouping by digest."""
_PER_PIECE = 64
_POINTS = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


class DedupPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The report of --dry-run. What starts with `about_` is scaled up from the first megabyte of input; None
    where a stream is among the inputs."""

    schema: str = "llmkit.dedup-plan/1"
    by: str
    inputs: list[str]
    input_bytes: int | None
    units: int
    out: str
    prefer: str
    similarity: float | None
    bands: int | None
    rows: int | None
    found_at: dict[str, float]
    """The probability that a pair of a similarity shares a band."""
    about_documents: int | None
    about_memory_bytes: int | None
    about_disk_bytes: int | None
    """While it works, without the result."""
    about_seconds: float | None
    disk_free_bytes: int


def plan_dedup(sources: DedupSources, config: DedupConfig) -> DedupPlan:
    """What `dedup_files` would do, after the same checks; writes nothing.

    Raises:
        UsageError, MissingError, DataError: as `dedup_files`; also bad input within the first megabyte.
    """
    config = usual(config)
    inputs = prepare(sources, config)
    if sources.against is not None:
        read_index(sources.against, config)
    is_near = config.by == "near"
    size = input_bytes(inputs)
    pieces = [] if size is None else split_inputs(inputs, unit_bytes=sources.unit_bytes, numbered=False)
    documents = memory = disk = seconds = None
    if size is not None:
        documents, parts, text_bytes, seconds = _extrapolate(pieces, config, inputs, size)
        rows = parts if config.by in PIECES else documents
        each = _PER_PIECE if config.by in PIECES else _PER_DOCUMENT[config.by]
        memory = _BASE_BYTES + min(rows * each, sources.memory_bytes)
        disk = 0 if flows(sources, config) else _disk_bytes(config, documents, parts, text_bytes)
    return DedupPlan(
        by=config.by,
        inputs=[str(path) for path in inputs],
        input_bytes=size,
        units=len(group_pieces(pieces, sources.unit_bytes)),
        out="-" if sources.out is None else str(sources.out),
        prefer=config.prefer,
        similarity=config.similarity if is_near else None,
        bands=config.bands if is_near else None,
        rows=config.rows if is_near else None,
        found_at={
            f"{at:g}": round(float(found_probability(at, config.bands, config.rows)), 4) for at in _POINTS
        }
        if is_near
        else {},
        about_documents=documents,
        about_memory_bytes=memory,
        about_disk_bytes=disk,
        about_seconds=seconds,
        disk_free_bytes=free_bytes(sources.out or Path.cwd()),
    )


def _extrapolate(
    pieces: list[Piece], config: DedupConfig, inputs: list[Path], input_bytes: int
) -> tuple[int, int, int, float]:
    """Documents, their pieces, bytes of text and seconds of all the input, as its beginning has them."""
    sample = InputSample()
    begin = time.process_time()
    documents = good_documents(pieces, field=config.field, skips_bad=False)
    texts = [one.text for one in takewhile(lambda one: sample.takes(encode_line(one.record)), documents)]
    parts = 0
    if config.by == "near" and texts:
        shingled = shingle(texts, ngram=config.ngram, unit=config.unit)
        band_keys(signatures(shingled, config.bands * config.rows), config.bands, config.rows)
    elif config.by == "substring":
        parts = sum(len(windows(elements(text, config.unit)[0], config.span)) for text in texts)
    elif config.by in PIECES:
        parts = sum(len(split_pieces(text, piece_kind(config), min_words=config.min_words)) for text in texts)
    seconds = time.process_time() - begin
    scale = sample.scale(inputs, input_bytes)
    text_bytes = sum(len(text.encode(errors="surrogatepass")) for text in texts)
    counts = (int(number * scale) for number in (len(texts), parts, text_bytes))
    return (*counts, round(2 * seconds * scale, 3))  # type: ignore[return-value]


def _disk_bytes(config: DedupConfig, documents: int, parts: int, text_bytes: int) -> int:
    """Facts, bands and, of a fifth of the documents, shingles: about one in six bytes, at four bytes each."""
    if config.by in PIECES:
        return parts * (9 if config.by == "substring" else 17) + documents * 4
    per_document = FACTS.itemsize + 20 + 8 * (config.bands if config.by == "near" else 0)
    sets = text_bytes * 4 // 6 // 5 if config.by == "near" and config.verify else 0
    return documents * per_document + sets
