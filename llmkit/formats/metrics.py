"""The metrics of a run, a JSON object a line: `{"step", "loss", …}` for a step, `{"event", …}` for others.

A file has each step of the run once: what a resume or a rewind does again is dropped before. What was written
to a pipe stays said; there a `start` or `rewind` event with step N takes back what came of later steps.
"""

import io
import math
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from llmkit.errors import DISK_FULL
from llmkit.formats.atomic import atomic_file
from llmkit.formats.jsonl import MALFORMED, encode_line
from llmkit.formats.streams import STDIO

METRICS = "metrics.jsonl"
_MEASURED = ("time_seconds", "peak_flops_per_second")


class MetricsWriter:
    """Appends records to a metrics file, or to stdout for `-`; each line reaches it at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = io.FileIO(1, "a", closefd=False) if path == STDIO else io.FileIO(path, "a")
        self._has_reader = True

    def write(self, record: dict[str, Any]) -> None:
        """Append one line. A value that is not finite becomes null: JSON has no NaN."""
        if self._has_reader:
            try:
                self._append(encode_line(record))
            except BrokenPipeError:  # the reader of a pipe left: training goes on
                self._has_reader = False
            except OSError as error:
                if error.errno in DISK_FULL:  # the system names no file
                    error.filename = "stdout" if self._path == STDIO else str(self._path)
                raise

    def take_back(self, step: int) -> list[dict[str, Any]]:
        """Drop the records after `step` from a file, and give them; a pipe gives nothing back."""
        if self._path == STDIO or not self._path.is_file():
            return []
        self._stream.close()
        _, dropped = _cut(self._path, step)
        self._stream = io.FileIO(self._path, "a")
        return dropped

    def sync(self) -> None:
        """Force all lines to the disk, where the file is on one."""
        if stat.S_ISREG(os.fstat(self._stream.fileno()).st_mode):
            os.fsync(self._stream.fileno())

    def _append(self, line: bytes) -> None:
        """All of it: where a disk is nearly full, the system takes a part, and says so at the next one."""
        left = memoryview(line)
        while left:
            left = left[self._stream.write(left) or 0 :]

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def told_number(record: dict[str, Any], name: str) -> float | None:
    """A number of a record, nan where it was not finite; None where the record does not tell it."""
    value = record.get(name)
    return math.nan if value is None and name in record else value


def holds_metrics(path: Path) -> bool:
    """Whether a file has nothing in it that `cut_metrics` would drop as no metrics; empty is as good."""
    try:
        for line in path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):  # the last, cut short
                return line.startswith(b"{")
            if "step" not in msgspec.json.decode(line, type=dict[str, Any]):
                return False
    except MALFORMED:
        return False
    return True


def begin_alike(path: Path, own: Path) -> bool:
    """Whether a file of metrics is of the run whose own metrics are `own`: its first record tells the same.

    A file without a whole line tells nothing else: the writing of its first was cut short.
    """
    first = _first_told(path)
    return own.is_file() and (first is None or first == _first_told(own))


def _first_told(path: Path) -> dict[str, Any] | None:
    """The first record, but for what was measured."""
    with path.open("rb") as stream:
        line = stream.readline()
    try:
        record = msgspec.json.decode(line, type=dict[str, Any]) if line.endswith(b"\n") else None
    except MALFORMED:
        return None
    return record and {name: value for name, value in record.items() if name not in _MEASURED}


def cut_metrics(path: Path, step: int) -> list[dict[str, Any]]:
    """Drop the records after `step` from a metrics file, and a last line cut short; no file is no work.

    Records of `step` itself stay. `stop` events go: the run goes on.

    Returns:
        The records that stay.
    """
    return _cut(path, step)[0] if path.exists() else []


def _cut(path: Path, step: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The records that stay in a file, and those that are dropped from it."""
    lines, kept, dropped = [], [], []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            record = msgspec.json.decode(line, type=dict[str, Any])
        except MALFORMED:
            continue
        if record.get("step", 0) <= step and record.get("event") != "stop":
            lines.append(line)
            kept.append(record)
        else:
            dropped.append(record)
    with atomic_file(path) as stream:
        stream.writelines(lines)
    return kept, dropped
