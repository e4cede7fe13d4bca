"""`--per-record FILE`: a line for each record of an evaluation, and how an interrupted run goes on from it.

Lines go to FILE.partial as they come, behind a header that digests the settings; at the end they become FILE,
whole. A run that was stopped, or killed, leaves FILE.partial: the same command line reads what is there, and
computes only what is missing. A last line that was torn off is written again. Where FILE is whole, the same
line computes nothing, and judges anew by what is in it.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from llmkit.errors import DataError, StoppedResumable, UsageError
from llmkit.formats.amount_text import plural
from llmkit.formats.atomic import refuse_existing
from llmkit.formats.digest import digest_bytes
from llmkit.formats.documents import list_files
from llmkit.formats.jsonl import encode_line
from llmkit.formats.partial_lines import (
    Header,
    begin_partial,
    finish_partial,
    is_done,
    lock_partial,
    may_be_done,
    partial_path,
    whole_lines,
)
from llmkit.formats.streams import STDIO, open_input

SCHEMA = "llmkit.eval-partial/1"


class Records:
    """The records of a run.

    Attributes:
        done: those of an earlier run, by their "index": the how many-eth record of the run's inputs it is.
        kept: how many are in the file, those of this run included.
        notes: what a person should know before it goes on.
    """

    def __init__(
        self,
        stream: BinaryIO | None = None,
        done: Mapping[int, dict[str, Any]] | None = None,
        notes: tuple[str, ...] = (),
        *,
        whole: Path | None = None,
    ) -> None:
        """
        Args:
            stream: where records go; None: nowhere.
            done, notes: see the attributes.
            whole: the file of a run that has ended, to which nothing is added.
        """
        self.done = done or {}
        self.kept = len(self.done)
        self.notes = notes
        self._stream = stream
        self._whole = whole

    def write(self, record: Mapping[str, Any]) -> None:
        """Keep a record; its "index" is its place among the inputs, from 0.

        Raises:
            DataError: the file was whole, of fewer inputs.
        """
        if self._whole is not None:
            raise DataError(
                f"{self._whole}: already exists, without record {record['index']:,} of the input",
                hint="choose another name, or replace it with --force",
            )
        if self._stream is not None:
            self.kept += 1
            self._stream.write(encode_line(record))
            self._stream.flush()

    def earlier(self, index: int, sha256: str, what: str, *, key: str = "prompt_sha256") -> dict[str, Any]:
        """The record that an interrupted run left of a prompt, or of the text whose digest is its `key`.

        Raises:
            DataError: it is of another; `what` names whose.
        """
        found = self.done[index]
        if found.get(key) != sha256:
            raise another_input(what)
        return found

    def check_all_read(self, count: int) -> None:
        """Refuse a file with records of more inputs than the `count` that there are.

        Raises:
            DataError: the interrupted run had more.
        """
        if (last := max(self.done, default=-1)) >= count:
            raise another_input(
                f"the input ends after {plural(count, 'record')}, has no record {last:,}, and"
            )


def another_input(what: str) -> DataError:
    """The error of an interrupted run that goes on with other inputs, which stdin alone does not tell."""
    return DataError(
        f"{what} is another than in the interrupted run",
        hint="give it the inputs that it began with, or remove the .partial file",
    )


def inputs_told(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Which files the inputs are, for the settings of `open_records`; of stdin, what is read tells."""
    return [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns) if path != STDIO else (str(path), 0, 0)
        for path in list_files(paths)
    ]


def check_records(path: Path | None, *, force: bool, inputs: Iterable[Path]) -> None:
    """Refuse a place for records before any work.

    Raises:
        UsageError: it is there already, not of a run like this, and `force` is off; or an input, or stdout.
    """
    if path == STDIO:
        raise UsageError("--per-record - : stdout has the report", hint="--per-record FILE.jsonl")
    if path is not None:
        refuse_existing(path, force=force or may_be_done(path), inputs=inputs, is_file=True)


@contextmanager
def open_records(
    path: Path | None, settings: Any, *, force: bool = False, inputs: Iterable[Path] = ()
) -> Iterator[Records]:
    """Where records go, with those that an earlier run of the same settings left.

    Args:
        path: the file; None: nowhere.
        settings: all that bears on a record, as something with a repr of its own.
        force, inputs: as for `open_output`.

    Raises:
        UsageError: see `check_records`; also, another run writes it now.
        DataError: an earlier run had other settings, or a whole line of it is damaged.
        StoppedResumable: by Ctrl-C or SIGTERM, with what is done kept.
    """
    check_records(path, force=force, inputs=inputs)
    if path is None:
        yield Records()
        return
    partial = partial_path(path)
    header = Header(SCHEMA, digest_bytes(repr(settings).encode()))
    if not force and is_done(path, header):
        yield _whole(path)
        return
    refuse_existing(path, force=force, inputs=inputs, is_file=True)
    with lock_partial(partial, hint="let it end") as stream:
        done, end = _read(partial, header)
        begin_partial(stream, end, header)
        notes = (f"{partial}: goes on after {plural(len(done), 'record')}",) if done else ()
        records = Records(stream, done, notes)
        try:
            yield records
        except BaseException as error:
            if not records.kept:
                partial.unlink()
            if not records.kept or not isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise StoppedResumable(
                f"stopped: what is complete is kept in {partial}", hint="run the same line again"
            ) from None
        finish_partial(partial, path, force=force, inputs=inputs)


def _whole(path: Path) -> Records:
    """The records of a run that has ended: all that there will be."""
    done = {}
    with open_input(path) as stream:
        for content in stream:
            record = msgspec.json.decode(content, type=dict[str, Any])
            done[int(record["index"])] = record
    notes = (f"{path}: whole already: nothing is computed, --force does it anew",)
    return Records(done=done, notes=notes, whole=path)


def _read(partial: Path, header: Header) -> tuple[dict[int, dict[str, Any]], int]:
    """Records by their index, and the bytes of the whole lines."""
    done: dict[int, dict[str, Any]] = {}
    end = 0
    for number, content in enumerate(whole_lines(partial), 1):
        try:
            if number > 1:
                record = msgspec.json.decode(content, type=dict[str, Any])
                done[int(record["index"])] = record
            elif msgspec.json.decode(content, type=Header) != header:
                raise DataError(
                    f"{partial}: begun with another model, other texts or other settings",
                    hint=f"run the line that began it, or rm {partial} to begin anew",
                )
        except (msgspec.MsgspecError, KeyError):
            raise DataError(
                f"{partial}:{number}: not a record of an interrupted run", hint=f"rm {partial}"
            ) from None
        end += len(content)
    return done, end
