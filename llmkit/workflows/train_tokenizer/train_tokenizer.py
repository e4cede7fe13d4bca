"""llmkit train-tokenizer: read text, train on it in the background, measure the result, write the folder."""

import time
from collections.abc import Sequence
from pathlib import Path

from llmkit.formats.atomic import atomic_folder
from llmkit.formats.digest import digest_inputs
from llmkit.formats.provenance import Invocation, write_provenance
from llmkit.formats.rejects import bad_lines
from llmkit.formats.streams import is_stream
from llmkit.machine import peak_memory_bytes
from llmkit.progress import Progress
from llmkit.tokens.background import run_in_background
from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.tokens.measure import measure_parts, measure_words
from llmkit.tokens.train import Trained, train_tokenizer
from llmkit.workflows.train_tokenizer.feed import Feed, open_feed
from llmkit.workflows.train_tokenizer.input import Reading, read_parts
from llmkit.workflows.train_tokenizer.plan import TrainTokenizerSources, check_sources
from llmkit.workflows.train_tokenizer.report import (
    TrainTokenizerReport,
    bytes_per_token,
    longest_pieces,
    sources_of,
    unused_tokens,
)

PACKAGES = ("numpy", "tokenizers")


class _Latest:
    """A Progress that keeps what it was told last: the thread that trains tells, the one that waits shows."""

    def __init__(self) -> None:
        self.fields: dict[str, float | str] = {}

    def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
        self.fields = fields

    def note(self, message: str) -> None:
        """Nothing trains with notes."""


def train_tokenizer_files(
    sources: TrainTokenizerSources,
    config: TrainTokenizerConfig,
    *,
    invocation: Invocation,
    progress: Progress,
) -> TrainTokenizerReport:
    """Train a tokenizer on files and write its folder.

    Raises:
        UsageError: the output exists, or is or holds an input; settings that the text does not allow.
        MissingError: an input is not there.
        DataError: bad input, or no text in it.
        ResourceError: not enough memory or disk.
    """
    begin = time.monotonic()
    room = check_sources(sources, config)
    reading, held_out = Reading(), Reading()
    with bad_lines(
        "train-tokenizer",
        skip=sources.skip_bad,
        rejects=sources.rejects,
        force=sources.force,
        inputs=[*sources.inputs, *sources.valid],
        out=sources.out,
    ) as bad:
        parts = read_parts(sources.inputs, reading, text_field=sources.field, on_bad=bad.on_bad)
        feed = open_feed(parts, config, room, progress)
        trained = _train(feed, config, progress)
        train_seconds = time.monotonic() - begin
        progress.update(feed.bytes, None, phase="measuring")
        words = measure_words(trained.tokenizer, trained.words)
        measured = measure_parts(trained.tokenizer, feed.sample) if len(reading.sources) > 1 else {}
        valid_parts = read_parts(sources.valid, held_out, text_field=sources.field, on_bad=bad.on_bad)
        valid = measure_parts(trained.tokenizer, valid_parts)
        with atomic_folder(sources.out) as folder:
            trained.tokenizer.save(folder)
            write_provenance(
                folder,
                invocation,
                inputs=_digests(sources.inputs, reading),
                tokenizer_sha256=trained.tokenizer.sha256,
                packages=PACKAGES,
            )
    return TrainTokenizerReport(
        out=str(sources.out),
        sha256=trained.tokenizer.sha256,
        type=config.type,
        pattern=config.pattern,
        vocab_size=trained.tokenizer.vocab_size,
        wanted_vocab_size=config.vocab_size,
        special_tokens=list(config.special_tokens),
        documents=reading.documents,
        text_bytes=reading.bytes,
        trained_bytes=feed.bytes,
        is_sample=feed.is_sample,
        bad_lines=bad.count,
        words=len(trained.words),
        tokens=words.tokens,
        bytes_per_token=round(words.bytes / words.tokens, 4),
        unused_tokens=unused_tokens(trained.tokenizer, config, words.used),
        longest=longest_pieces(trained.tokenizer),
        sources=sources_of(reading, measured, words),
        valid=sources_of(held_out, valid),
        valid_bytes_per_token=bytes_per_token(valid),
        memory_bytes=feed.memory_bytes,
        peak_memory_bytes=peak_memory_bytes(),
        train_seconds=round(train_seconds, 3),
        seconds=round(time.monotonic() - begin, 3),
    )


def _train(feed: Feed, config: TrainTokenizerConfig, progress: Progress) -> Trained:
    """Train in the background, and show how far it is: how much text is in, then what is made of it."""
    latest = _Latest()
    learning_since: float | None = None

    def show() -> None:
        nonlocal learning_since
        if not feed.is_done:
            progress.update(feed.bytes, feed.expected_bytes, phase="counting words")
            return
        learning_since = learning_since or time.monotonic()
        seconds = f"{time.monotonic() - learning_since:.0f} s"
        progress.update(feed.bytes, None, **{"phase": "learning", "for": seconds, **latest.fields})

    return run_in_background(
        lambda texts: train_tokenizer(texts, config, progress=latest), feed.texts(), tick=show
    )


def _digests(inputs: Sequence[Path], reading: Reading) -> dict[str, str]:
    """Of each input; of a stream, the text that came."""
    return digest_inputs(path for path in inputs if not is_stream(path)) | reading.streams
