"""Token documents kept on disk while it is decided where they go: ids end to end, and what is known of each.

    tokens          little-endian ids of one width
    lengths         int64 for each document
    runs            int64 pairs (start, length): each run without loss
    run_counts      int64: how many of them a document has
    documents       a JSON line for each document
    state.json      how far all of these reach, as of the last `commit`

A spool that was cut short is opened again at its last commit.
"""

import os
from array import array
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.formats.atomic import write_atomic
from llmkit.formats.token_documents import TokenIds

Int64s = NDArray[np.int64]
IdType = Literal["u2", "u4"]
DOCUMENTS = "documents"
_NUMBERS = ("lengths", "runs", "run_counts")
_FILES = ("tokens", *_NUMBERS, DOCUMENTS)
_NUMBERS_HELD = 1 << 14  # documents whose numbers are written together
_BUFFER = 1 << 20  # bytes of a file: each write lets go of the interpreter, and threads that encode take it
_STATE = "state.json"


class SpoolState(msgspec.Struct, kw_only=True):
    """What has been written so far."""

    id_type: IdType
    documents: int = 0
    tokens: int = 0
    sizes: dict[str, int] = {}
    notes: dict[str, Any] = {}
    """Whatever the writer wants to find again."""


class TokenSpool:
    """Documents appended one after another. A context manager: it closes its files.

    Args:
        folder: exists; a spool that is in it already goes on from its last commit.
        id_type: width of an id. `u2` holds those below 65,536.
    """

    def __init__(self, folder: Path, id_type: IdType) -> None:
        self._folder = folder
        state = folder / _STATE
        self.state = SpoolState(id_type=id_type, sizes=dict.fromkeys(_FILES, 0))
        if state.exists():
            self.state = msgspec.json.decode(state.read_bytes(), type=SpoolState)
        self._id_type = np.dtype(f"<{self.state.id_type}")
        self._files = {name: _open_at(folder / name, self.state.sizes[name]) for name in _FILES}
        self._numbers = {name: array("q") for name in _NUMBERS}

    def add(self, tokens: TokenIds, runs: Int64s, line: bytes) -> None:
        """Append a document.

        Args:
            tokens: its ids.
            runs: (n, 2) start and length of each run without loss, in order.
            line: what `documents` says of it, newline included.
        """
        self._files["tokens"].write(tokens.astype(self._id_type).data)
        self._files[DOCUMENTS].write(line)
        self._numbers["lengths"].append(len(tokens))
        self._numbers["run_counts"].append(len(runs))
        if len(runs):
            self._numbers["runs"].extend(runs.ravel().tolist())
        if len(self._numbers["lengths"]) >= _NUMBERS_HELD:
            self._write_numbers()
        self.state.documents += 1
        self.state.tokens += len(tokens)

    def flush(self) -> None:
        """Write everything out, so that it can be read back."""
        self._write_numbers()
        for file in self._files.values():
            file.flush()

    def commit(self) -> None:
        """Remember this point: a spool opened later goes on from here, even after a loss of power."""
        self.flush()
        for name, file in self._files.items():
            os.fsync(file.fileno())
            self.state.sizes[name] = file.tell()
        write_atomic(self._folder / _STATE, msgspec.json.encode(self.state))

    def tokens(self) -> NDArray[Any]:
        """All ids, mapped from the disk; `flush` comes first."""
        if not self.state.tokens:
            return np.empty(0, self._id_type)
        return np.memmap(self._folder / "tokens", self._id_type, mode="r", shape=(self.state.tokens,))

    def lengths(self) -> Int64s:
        """(documents,) ids of each."""
        return self._read("lengths")

    def runs(self) -> tuple[Int64s, Int64s]:
        """(n, 2) start and length of every run without loss, and (documents,) how many each document has."""
        return self._read("runs").reshape(-1, 2), self._read("run_counts")

    def __enter__(self) -> "TokenSpool":
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files.values():
            file.close()

    def _write_numbers(self) -> None:
        for name, numbers in self._numbers.items():
            self._files[name].write(np.array(numbers, "<i8").data)
            del numbers[:]

    def _read(self, name: str) -> Int64s:
        return np.fromfile(self._folder / name, "<i8").astype(np.int64, copy=False)


def _open_at(path: Path, size: int) -> BinaryIO:
    """Open a file to go on at `size`; what was written after that is dropped."""
    path.touch()
    os.truncate(path, size)
    return path.open("ab", buffering=_BUFFER)
