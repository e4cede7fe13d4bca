"""What an interrupted run has written, and how the next one goes on from there.

With `--resume` records go to OUT.partial as they are complete: a header line, then the records. When all rows
are done they become OUT, whole, and OUT.partial goes away. A run that was stopped, or killed, leaves
OUT.partial; the same command line then computes only what is missing, and OUT has the same bytes as if
nothing had happened. A last line that was torn off is cut away, and its row is written again. Once OUT is
whole, that line has nothing to do.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

import msgspec

from llmkit.errors import AlreadyDone, DataError, UsageError, as_word
from llmkit.formats.amount_text import plural
from llmkit.formats.digest import digest_bytes
from llmkit.formats.jsonl import Record, encode_line, parse_line, read_records
from llmkit.formats.partial_lines import (
    Header,
    begin_partial,
    finish_partial,
    is_done,
    lock_partial,
    partial_path,
    whole_lines,
)
from llmkit.formats.peft import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from llmkit.model.source import model_files as stored_files
from llmkit.workflows.generate.job import Job
from llmkit.workflows.generate.row import Refusal, Row

SCHEMA = "llmkit.generate-partial/1"
RESULTS = frozenset(
    ("completion", "completion_ids", "finish_reason", "usage", "seed", "sample", "logprobs", "code")
)
"""Fields of a record that are not its row's."""
_HOW_NOT_WHAT = ("threads", "batch", "unbuffered", "draft", "draft_tokens")
"""Settings that leave every text as it is."""

Key = tuple[bytes, int]
"""A row's content, digested, and the number of a sample."""


@dataclass(frozen=True)
class Partial:
    """The records that are there.

    Attributes:
        path: of the file.
        settings: digest of all that bears on the texts.
        done: what has a record, and how often.
        end: bytes of the whole lines; 0: there is no file yet.
        is_torn: whether more follows them.
        is_ordered: whether records stand in the order of their rows.
        stream: the file, where this process alone may write it.
    """

    path: Path
    settings: str
    done: Counter[Key]
    end: int
    is_torn: bool
    is_ordered: bool
    stream: BinaryIO | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before it goes on."""
        if not self.end:
            return ()
        torn = ", and half a record, which is written again" if self.is_torn else ""
        return (f"{self.path}: goes on after {plural(self.done.total(), 'record')}{torn}",)

    def left(self, rows: Iterable[Row | Refusal]) -> Iterator[Row | Refusal]:
        """The rows that have no record yet, or not of every sample.

        Raises:
            DataError: there are records of other rows, or the rows stand in another order.
        """
        done, has_begun = self.done.copy(), False
        for row in rows:
            keys = _keys_of(row)
            there = [key for key in keys if done[key]]
            done.subtract(there)
            if there and has_begun and self.is_ordered:
                raise self._wrong("has rows in another order")
            if len(there) == len(keys):
                continue
            has_begun = True
            samples = frozenset(sample for _, sample in there)
            yield replace(row, skip=samples) if there and isinstance(row, Row) else row
        if over := (+done).total():
            raise self._wrong(f"has {plural(over, 'record')} of rows that are not there")

    @contextmanager
    def writing(self, job: Job) -> Iterator[BinaryIO]:
        """Take records in behind those that are there; where no error comes, all of them become the output.

        Raises:
            UsageError: the output has come into being meanwhile.
        """
        out, stream = job.files.out, self.stream
        assert out is not None and stream is not None
        begin_partial(stream, self.end, Header(SCHEMA, self.settings))
        yield stream
        stream.flush()
        finish_partial(self.path, out, force=job.files.force, inputs=job.files.every_input)

    def _wrong(self, what: str) -> DataError:
        return DataError(
            f"{self.path}: {what}",
            hint=f"give it the rows that it began with, or rm {as_word(self.path)} to begin anew",
        )


def read_partial(job: Job) -> Partial:
    """What an earlier run left; nothing is changed.

    Raises:
        DataError: another model or other settings wrote it, or a whole line of it is damaged.
    """
    assert job.files.out is not None
    path, settings = partial_path(job.files.out), _settings_of(job)
    done: Counter[Key] = Counter()
    if not path.exists():
        return Partial(path, settings, done, 0, False, not job.config.unordered)
    end, size = 0, path.stat().st_size
    for number, content in enumerate(whole_lines(path), 1):
        end += len(content)
        record = parse_line(content, str(path), number).record
        if number == 1:
            _check_header(path, content, settings)
        else:
            done[_key_of_record(record), _sample_of(record)] += 1
    return Partial(path, settings, done, end, end < size, not job.config.unordered)


def check_done(job: Job, rows: Callable[[], Iterable[Row | Refusal]]) -> None:
    """Stop where --resume finds the output whole; see `GenerateFiles.may_be_done`.

    Args:
        job: whose output may be there, and is not to be replaced.
        rows: reads all of them, bad lines left out.

    Raises:
        AlreadyDone: a run of the same model and settings has ended it, and each row has its records there.
        UsageError: it is of another model, other settings or other rows.
    """
    out, settings = job.files.out, _settings_of(job)
    assert out is not None
    if is_done(out, Header(SCHEMA, settings)):
        records = (line.record for line in read_records(out))
        done = Counter((_key_of_record(record), _sample_of(record)) for record in records)
        if done == Counter(key for row in rows() for key in _keys_of(row)):
            raise AlreadyDone(f"{out}: whole already: each row has its records", hint="--force makes it anew")
    raise UsageError(
        f"{out}: already exists, and is not what this line would leave",
        hint="choose another name, or replace it with --force",
    )


@contextmanager
def open_partial(job: Job) -> Iterator[Partial | None]:
    """The same, and no other process writes there until the end; None without --resume.

    A file that stays empty goes again.

    Raises:
        UsageError: another run is writing the file.
        DataError: as `read_partial`.
    """
    if not job.files.resume:
        yield None
        return
    assert job.files.out is not None
    path = partial_path(job.files.out)
    with lock_partial(path, hint="let it end, or name another output") as stream:
        try:
            yield replace(read_partial(job), stream=stream)
        finally:
            if not os.fstat(stream.fileno()).st_size:
                path.unlink(missing_ok=True)


def _check_header(path: Path, content: bytes, settings: str) -> None:
    try:
        header = msgspec.json.decode(content, type=Header)
    except msgspec.MsgspecError:
        header = Header("", "")
    if header.schema != SCHEMA:
        raise DataError(f"{path}: not the records of an interrupted run", hint="name another output with -o")
    if header.settings_sha256 != settings:
        raise DataError(
            f"{path}: begun with another model or other settings",
            hint=f"run the line that began it, or rm {as_word(path)} to begin anew",
        )


def _settings_of(job: Job) -> str:
    """All that bears on the texts: settings, the tokenizer, and which files the weights are."""
    config = {key: value for key, value in asdict(job.config).items() if key not in _HOW_NOT_WHAT}
    weights = model_files(job.files.model, [source.path for source in job.adapters.sources])
    tokenizer = None if job.tokenizer is None else job.tokenizer.sha256
    told = [config | {"sampling": asdict(job.sampling)}, weights, tokenizer]
    if job.template is not None:
        told.append(job.template.source)
    return digest_bytes(msgspec.json.encode(told, enc_hook=str, order="sorted"))


def model_files(model: Path, adapters: Iterable[Path] = ()) -> list[tuple[str, int, int]]:
    """Which files a model is: of each its name, bytes, and when it was written, in nanoseconds.

    Args:
        model: a folder or a GGUF file.
        adapters: beside it, PEFT's folders or GGUF files.
    """
    if model.is_file():
        files = stored_files(model)
    else:
        files = sorted(file for file in model.iterdir() if file.is_file())
    for path in adapters:
        files += [path] if path.is_file() else [path / ADAPTER_WEIGHTS, path / ADAPTER_CONFIG]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def _keys_of(row: Row | Refusal) -> list[Key]:
    """Of all records that a row has in the end."""
    content = _digest(row.record) if row.call is None else row.call.key.encode()
    return [(content, sample) for sample in range(1 if isinstance(row, Refusal) else _records_of(row))]


def _key_of_record(record: Record) -> bytes:
    if "custom_id" in record and "response" in record:
        return bytes(record["id"]).strip(b'"').removeprefix(b"batch_req_")
    return _digest(record)


def _records_of(row: Row) -> int:
    """An answer to a row of a batch file has all of its samples."""
    return row.request.sampling.samples if row.call is None else 1


def _sample_of(record: Record) -> int:
    return int(record["sample"]) if "response" not in record and "sample" in record else 0


def _digest(record: Record) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name, value in record.items():
        if name not in RESULTS:
            digest.update(encode_line({name: value}))
    return digest.digest()
