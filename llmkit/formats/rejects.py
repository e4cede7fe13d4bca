"""Malformed lines under --skip-bad and --rejects: counted, and kept with the reason.

A rejected record is written as it came plus `_reject`, so that `jq 'del(._reject)'` gives the input back. A
line that is no JSON object, or not UTF-8, is kept as text under `_line`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from llmkit.errors import LlmkitError, UsageError
from llmkit.formats.jsonl import MALFORMED, BadLine, OnBad, Record, encode_line, raw
from llmkit.formats.streams import STDIO, check_output, is_stream, open_input, open_output


class BadLines:
    """Counts bad lines; writes them to `stream` when there is one. Its `on_bad` goes to the readers."""

    def __init__(self, stage: str, *, skip: bool, stream: BinaryIO | None) -> None:
        self.count = 0
        self._stage = stage
        self._skip = skip
        self._stream = stream

    @property
    def on_bad(self) -> OnBad | None:
        """What the readers call; None where a bad line is an error."""
        return self._take if self._skip or self._stream is not None else None

    def _take(self, bad: BadLine) -> None:
        self.count += 1
        if self._stream is not None:
            self._stream.write(encode_line(reject_record(bad, self._stage)))


@contextmanager
def bad_lines(
    stage: str,
    *,
    skip: bool = False,
    rejects: Path | None = None,
    force: bool = False,
    inputs: Iterable[Path] = (),
    out: Path | None = None,
) -> Iterator[BadLines]:
    """The bad lines of one run.

    Args:
        stage: the command, recorded with each reject.
        skip: pass over bad lines instead of failing at the first.
        rejects: keep them in this file; implies `skip`.
        force, inputs: as for `open_output`.
        out: where the results go, a file or a folder; None: to stdout.

    Raises:
        UsageError: see `check_rejects`.
    """
    if rejects is None:
        yield BadLines(stage, skip=skip, stream=None)
        return
    _check_apart(rejects, out)
    with open_output(rejects, force=force, inputs=inputs) as stream:
        yield BadLines(stage, skip=skip, stream=stream)


def check_rejects(rejects: Path | None, *, force: bool, inputs: Iterable[Path], out: Path | None) -> None:
    """Check a place for rejects before any work; the arguments are those of `bad_lines`.

    Raises:
        UsageError: `rejects` exists and `force` is off, or it is one of `inputs`, or it is or lies in `out`,
            or cannot be written.
    """
    if rejects is not None:
        _check_apart(rejects, out)
        check_output(rejects, force=force, inputs=inputs)


def holds_rejects(path: Path, stage: str) -> bool:
    """Whether a file is what a command kept, to its first line; an empty one is.

    Args:
        path: one that is not there, or that can be read only once, is not.
        stage: the command.
    """
    if is_stream(path):
        return False
    try:
        with open_input(path) as stream:
            first = stream.readline()
        return not first or msgspec.json.decode(first)["_reject"]["stage"] == stage
    except (OSError, LlmkitError, *MALFORMED, LookupError, TypeError):
        return False


def _check_apart(rejects: Path, out: Path | None) -> None:
    if (out or STDIO).resolve() in (rejects.resolve(), *rejects.resolve().parents):
        raise UsageError(
            f"{rejects}: rejects and results in one place", hint="choose another name with --rejects"
        )


def reject_record(bad: BadLine, stage: str) -> Record:
    """A bad line as a record of the rejects format."""
    try:
        record = msgspec.json.decode(bad.content.decode(), type=Record)
    except MALFORMED:
        record = {"_line": raw(bad.content.rstrip(b"\r\n").decode(errors="backslashreplace"))}
    why = {
        "stage": stage,
        "rule": "malformed",
        "value": None,
        "threshold": None,
        "error": bad.problem,
        "file": bad.file,
        "line": bad.number,
    }
    return {**record, "_reject": raw(why)}
