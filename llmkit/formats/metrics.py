"""The metrics of a run, a JSON object a line: `{"step", "loss", …}` for a step, `{"event", …}` for others."""

import io
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from llmkit.formats.atomic import atomic_file
from llmkit.formats.jsonl import encode_line
from llmkit.formats.streams import STDIO

METRICS = "metrics.jsonl"


class MetricsWriter:
    """Appends records to a metrics file, or to stdout for `-`; each line reaches it at once."""

    def __init__(self, path: Path) -> None:
        self._stream = io.FileIO(1, "a", closefd=False) if path == STDIO else io.FileIO(path, "a")
        self._has_reader = True

    def write(self, record: dict[str, Any]) -> None:
        """Append one line. A value that is not finite becomes null: JSON has no NaN."""
        if self._has_reader:
            try:
                self._stream.write(encode_line(record))
            except BrokenPipeError:  # the reader of a pipe left: training goes on
                self._has_reader = False

    def sync(self) -> None:
        """Force all lines to the disk, where the file is on one."""
        if self._stream.seekable():
            os.fsync(self._stream.fileno())

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def holds_metrics(path: Path) -> bool:
    """Whether a file has nothing in it that `cut_metrics` would drop as no metrics; empty is as good."""
    try:
        for line in path.read_bytes().splitlines()[:-1]:  # the last may be cut short
            if "step" not in msgspec.json.decode(line, type=dict[str, Any]):
                return False
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def cut_metrics(path: Path, step: int) -> list[dict[str, Any]]:
    """Drop the records after `step` from a metrics file, and a last line cut short; no file is no work.

    Records of `step` itself stay. `stop` events go: the run goes on.

    Returns:
        The records that stay.
    """
    if not path.exists():
        return []
    kept, records = [], []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            record = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            continue
        if record.get("step", 0) <= step and record.get("event") != "stop":
            kept.append(line)
            records.append(record)
    with atomic_file(path) as stream:
        stream.writelines(kept)
    return records
