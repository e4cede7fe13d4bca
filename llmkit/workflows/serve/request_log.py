"""The log of requests: a line of JSON for each, flushed as it comes. Where it takes none, they go on."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from llmkit.formats.streams import STDIO
from llmkit.server.observe import RequestLog


@contextlib.contextmanager
def request_log(path: Path | None) -> Iterator[RequestLog]:
    """What takes the records of requests.

    Args:
        path: of the log, which goes on where it ended; None: there is none.
    """
    if path is None:
        yield lambda record: None
        return
    if path == STDIO:
        yield _Lines(sys.stdout.buffer, "stdout").add
        return
    stream = path.open("ab")
    try:
        yield _Lines(stream, str(path)).add
    finally:
        with contextlib.suppress(OSError):  # what it holds could not be written before, and that is told
            stream.close()


class _Lines:
    """A file of records. That a disk is full, or a reader has left, is told once and not at each request."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream
        self._name = name
        self._is_broken = False

    def add(self, record: dict[str, Any]) -> None:
        """A request is over."""
        try:
            self._stream.write(msgspec.json.encode(record) + b"\n")
            self._stream.flush()
        except OSError as error:
            self._tell_once((error.strerror or str(error)).lower())
        else:
            if self._is_broken:
                logging.getLogger("llmkit.serve").warning("%s: requests are logged again", self._name)
            self._is_broken = False

    def _tell_once(self, why: str) -> None:
        if not self._is_broken:
            problem = "llmkit: error: %s: requests cannot be logged (%s)\n  hint: %s"
            hint = "they are answered all the same; make room on the disk, or read what --log - writes"
            logging.getLogger("llmkit.serve").error(problem, self._name, why, hint)
        self._is_broken = True
