"""What training a tokenizer will read and take, and whether that is there: before any of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from llmkit.errors import ResourceError, UsageError
from llmkit.formats.atomic import refuse_existing
from llmkit.formats.documents import list_files
from llmkit.formats.file_kind import holds_json_lines
from llmkit.formats.output_place import refuse_special
from llmkit.formats.parquet import is_parquet
from llmkit.formats.rejects import check_rejects
from llmkit.formats.streams import input_bytes, is_stream
from llmkit.machine import available_memory_bytes, cores, free_bytes
from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.tokens.reservoir import Part, Reservoir
from llmkit.tokens.train import check_special_tokens
from llmkit.tokens.training_cost import (
    BASE_BYTES,
    measure_symbols,
    training_memory_bytes,
    training_seconds,
)
from llmkit.workflows.train_tokenizer.input import Reading, is_compressed, read_parts

SAMPLE_BYTES = 2_000_000
"""Of text, that memory is predicted from and sources are measured on."""
LOOK_BYTES = 32_000_000
"""Of text, that a dry run reads at most."""
_FILES_BYTES, _ID_BYTES = 128 << 10, 100  # of the output: about 60 an id measured


@dataclass(frozen=True, kw_only=True)
class TrainTokenizerSources:
    """What to read and where to write."""

    inputs: Sequence[Path]
    out: Path
    valid: Sequence[Path] = ()
    """Text that the result is measured on beside its own."""
    field: str = "text"
    force: bool = False
    skip_bad: bool = False
    rejects: Path | None = None


@dataclass(frozen=True)
class Room:
    """What there is before the work begins."""

    text_bytes: int | None
    """Of the inputs; None where their sizes do not tell."""
    is_exact: bool
    """Whether all of them is text: records of jsonl hold more than that."""
    memory_bytes: int | None


class TrainTokenizerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The report of --dry-run. What starts with `about_` is scaled up from the first text of the input."""

    schema: str = "llmkit.train-tokenizer-plan/1"
    inputs: list[str]
    input_bytes: int | None
    """On disk; None with stdin among them."""
    out: str
    type: str
    vocab_size: int
    pattern: str
    special_tokens: list[str]
    is_sample: bool | None
    """Whether --max-bytes is less than the input; None where that is not known before."""
    about_text_bytes: int
    """Trained on; where that is not known, the most it can be."""
    about_memory_bytes: int
    memory_available_bytes: int | None
    about_seconds: float
    disk_bytes: int
    disk_free_bytes: int


def check_sources(sources: TrainTokenizerSources, config: TrainTokenizerConfig) -> Room:
    """Find what is wrong before any work.

    Raises:
        UsageError: the output exists, is or holds an input; a stream twice; a special token that is a word.
        MissingError: an input is not there.
        ResourceError: too little room on the disk, or to hold the sample.
    """
    check_special_tokens(config)
    given = [*sources.inputs, *sources.valid]
    refuse_existing(sources.out, force=sources.force, inputs=given)
    refuse_special(sources.out)
    check_rejects(sources.rejects, force=sources.force, inputs=given, out=sources.out)
    twice = next((path for path in given if is_stream(path) and given.count(path) > 1), None)
    if twice is not None:
        what = "stdin" if str(twice) == "-" else "a pipe"
        raise UsageError(f"{twice}: {what} can be read once", hint="put one of the inputs into a file")
    files = list_files(sources.inputs)
    list_files(sources.valid)
    needed, free = disk_bytes(config), free_bytes(sources.out)
    if needed > free:
        raise ResourceError(
            f"{sources.out}: the disk has {free:,} bytes left, and the tokenizer takes about {needed:,}",
            hint="free some space, or name another place with -o",
        )
    is_exact = not any(holds_json_lines(path) or is_parquet(path) for path in files)
    return Room(_size_of(files), is_exact, available_memory_bytes())


def is_sampled(room: Room, config: TrainTokenizerConfig) -> bool:
    """Whether a sample has to be held: there is, or may be, more text than is to be trained on."""
    return room.text_bytes is None or room.text_bytes > config.max_bytes


def check_memory(needed: int, room: Room, text_bytes: int) -> None:
    """Whether there is so much memory, to train on so much text.

    Raises:
        ResourceError: there is not.
    """
    if room.memory_bytes is not None and needed > room.memory_bytes:
        share = max(0, room.memory_bytes - BASE_BYTES) / needed
        raise ResourceError(
            f"training on {text_bytes:,} bytes of this text takes about {needed:,} bytes of memory "
            f"(found {room.memory_bytes:,})",
            hint=f"train on a sample: --max-bytes {max(1, int(share * text_bytes / 1e6))}M",
        )


def plan_train_tokenizer(sources: TrainTokenizerSources, config: TrainTokenizerConfig) -> TrainTokenizerPlan:
    """What `train_tokenizer_files` would do, after the same checks; writes nothing.

    Raises:
        UsageError, MissingError, ResourceError, DataError: as there; bad input only where it is looked at.
    """
    room = check_sources(sources, config)
    files = list_files(sources.inputs)
    reading, sample = Reading(), Reservoir(SAMPLE_BYTES, config.seed)
    parts = read_parts(sources.inputs, reading, text_field=sources.field, on_bad=None)
    whole = _look(parts, reading, sample)
    most = reading.bytes if whole else room.text_bytes
    text_bytes = config.max_bytes if most is None else min(most, config.max_bytes)
    held = text_bytes if is_sampled(room, config) else 0
    growth = measure_symbols(config.type, (part.text for part in sample))
    return TrainTokenizerPlan(
        inputs=[str(path) for path in files],
        input_bytes=input_bytes(files),
        out=str(sources.out),
        type=config.type,
        vocab_size=config.vocab_size,
        pattern=config.pattern,
        special_tokens=list(config.special_tokens),
        is_sample=None if most is None else most > config.max_bytes,
        about_text_bytes=text_bytes,
        about_memory_bytes=training_memory_bytes(config.type, growth, text_bytes, held),
        memory_available_bytes=room.memory_bytes,
        about_seconds=round(training_seconds(config.type, growth, text_bytes, cores()), 1),
        disk_bytes=disk_bytes(config),
        disk_free_bytes=free_bytes(sources.out),
    )


def disk_bytes(config: TrainTokenizerConfig) -> int:
    """What the output takes, about."""
    return _FILES_BYTES + _ID_BYTES * config.vocab_size


def _size_of(files: Sequence[Path]) -> int | None:
    """No less than the text in some files, from their sizes; None where those do not tell."""
    if any(is_stream(path) or is_parquet(path) or is_compressed(path) for path in files):
        return None
    return sum(path.stat().st_size for path in files)


def _look(parts: Iterator[Part], reading: Reading, sample: Reservoir) -> bool:
    """Take the beginning of the text as a sample; whether that was all of it."""
    for part in parts:
        sample.add(part)
        if reading.bytes >= LOOK_BYTES:
            return False
    return True
