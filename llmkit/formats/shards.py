"""Packed rows on disk: a folder of seekable zstd shards and its index.

    OUT/index.json               what holds for all rows, and each shard's rows and SHA-256
    OUT/shard-00000.tok.zst      frame 0: a skippable frame, the same facts as JSON
                                 then frames of whole rows, little-endian ids (`zstd -dc shard | od -An -tu2`)
                                 then a skippable frame of kind 1: documents and loss of each row (`RowNotes`)
    OUT/documents.jsonl.zst      a line for each document: its number, id, number of tokens, origin

A row stores seq_len + 1 ids, so that it gives seq_len inputs and seq_len next-token targets. Rows do not
overlap: each token is stored once.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError, MissingError
from llmkit.formats.digest import digest_file
from llmkit.formats.jsonl import MALFORMED
from llmkit.formats.row_notes import RowNotes
from llmkit.formats.seekable import SeekableReader

INDEX = "index.json"
DOCUMENTS = "documents.jsonl.zst"
SCHEMA = "llmkit.shards/1"
NOTES_KIND = 1
FRAME_TOKENS = 1 << 16
CACHED_FRAMES = 64
FETCH_AGAIN = "pack again, or fetch the file again"
_ALIKE = ("tokenizer_sha256", "seq_len", "dtype")
"""What every shard's header says as index.json does."""


class ShardEntry(msgspec.Struct, frozen=True):
    """One shard file."""

    file: str
    rows: int
    tokens: int
    file_bytes: int
    sha256: str


class ShardIndex(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all rows of a folder; also, without `shards`, the header of each shard."""

    schema: str = SCHEMA
    dtype: str
    """`u2` or `u4`: little-endian unsigned, chosen from the vocabulary."""
    seq_len: int
    rows: int
    tokens: int
    """Real tokens, padding not counted."""
    documents: int
    vocab_size: int
    tokenizer_sha256: str | None
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    boundary: str
    strategy: str
    long: str
    seed: int | None
    """Seed of the shuffle; None: rows in the order they were made."""
    bytes: int | None
    """UTF-8 bytes of the text behind the tokens, where known."""
    shards: tuple[ShardEntry, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype not in ("u2", "u4"):
            raise ValueError(f"dtype is {self.dtype!r}, neither u2 nor u4")
        if min(self.seq_len, self.rows) < 0:
            raise ValueError("a count below 0")

    @property
    def row_length(self) -> int:
        """Ids stored in a row."""
        return self.seq_len + 1


@dataclass(frozen=True)
class Rows:
    """Some rows, as training reads them. N rows, L = seq_len + 1."""

    tokens: NDArray[np.uint32]
    """(N, L) ids."""
    segments: NDArray[np.int32]
    """(N, L) which document of the row a token belongs to, from 0; -1 is padding."""
    loss: NDArray[np.bool_]
    """(N, L) whether the token is learnt as a target; False on padding."""


class Shard:
    """One shard file, open for random access.

    Raises:
        DataError: truncated, damaged, or not a shard.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reader = SeekableReader(path)
        self.header = self._read_header()
        self._data = [frame for frame in self.reader.frames if frame.size]
        self.frame_rows = frame_rows(self.header.row_length)
        kind, notes = self.reader.skippable(self.reader.frames[-1])
        if kind != NOTES_KIND:
            raise DataError(f"{path}: not a shard of rows (no notes)", hint="pack again")
        try:
            self.notes = RowNotes.decode(notes)
        except ValueError as error:
            raise DataError(f"{path}: its notes are damaged ({error})", hint=FETCH_AGAIN) from None
        if len(self.notes.used) != self.header.rows:
            raise DataError(
                f"{path}: notes on {len(self.notes.used)} rows (its header says {self.header.rows})",
                hint=FETCH_AGAIN,
            )
        stored = sum(frame.size for frame in self._data)
        width = int(self.header.dtype[1])
        if stored != self.header.rows * self.header.row_length * width:
            raise DataError(
                f"{path}: {stored} bytes of ids (its header says {self.header.rows} rows of "
                f"{self.header.row_length} {self.header.dtype})",
                hint=FETCH_AGAIN,
            )

    @property
    def num_frames(self) -> int:
        """Frames of rows."""
        return len(self._data)

    def frame(self, number: int) -> NDArray[np.uint32]:
        """(rows of the frame, L) ids, checked."""
        content = self.reader.read(self._data[number])
        ids = np.frombuffer(content, dtype=f"<{self.header.dtype}")
        return ids.reshape(-1, self.header.row_length).astype(np.uint32)

    def _read_header(self) -> ShardIndex:
        frames = self.reader.frames
        if len(frames) < 2 or frames[0].size:
            raise DataError(f"{self.path}: not a shard of rows (no header)", hint="llmkit pack writes shards")
        _, header = self.reader.skippable(frames[0])
        try:
            return msgspec.json.decode(header, type=ShardIndex)
        except MALFORMED as error:
            raise DataError(
                f"{self.path}: not a shard of rows ({error})", hint="llmkit pack writes shards"
            ) from None


class ShardFolder:
    """The rows of a shard folder, in any order. Safe to read from several threads."""

    def __init__(self, path: Path, index: ShardIndex, shards: list[Shard]) -> None:
        self.path = path
        self.index = index
        self.shards = shards
        self._starts = np.cumsum([0, *(entry.rows for entry in index.shards)])
        self._cache: OrderedDict[tuple[int, int], NDArray[np.uint32]] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> "ShardFolder":
        """Open a folder after checking its index, every shard's header and length.

        Raises:
            MissingError: no such folder, no index, or a shard is not there.
            DataError: the index or a shard is damaged, or they do not belong together.
        """
        index = read_index(path)
        shards = []
        for entry in index.shards:
            file = path / entry.file
            if not file.is_file():
                raise MissingError(f"{file}: no such shard (index.json names it)", hint="pack again")
            if file.stat().st_size != entry.file_bytes:
                raise DataError(
                    f"{file}: truncated or changed: {file.stat().st_size} bytes (index.json says "
                    f"{entry.file_bytes})",
                    hint=FETCH_AGAIN,
                )
            shard = Shard(file)
            header = shard.header
            if header.rows != entry.rows or any(
                getattr(header, name) != getattr(index, name) for name in _ALIKE
            ):
                raise DataError(
                    f"{file}: belongs to another index.json", hint="do not mix folders: pack again"
                )
            shards.append(shard)
        if index.rows != (there := sum(entry.rows for entry in index.shards)):
            raise DataError(f"{path}: index.json says {index.rows} rows, shards {there}", hint=FETCH_AGAIN)
        return cls(path, index, shards)

    def __len__(self) -> int:
        """Number of rows."""
        return self.index.rows

    def read(self, rows: Sequence[int] | NDArray[np.int64]) -> Rows:
        """Some rows, in the order asked for, repeats allowed.

        Raises:
            DataError: a frame is damaged.
            IndexError: a row is not there.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"rows 0 … {len(self) - 1}")
        shape = (len(wanted), self.index.row_length)
        tokens = np.empty(shape, np.uint32)
        segments, loss = np.empty(shape, np.int32), np.empty(shape, np.bool_)
        owner = np.searchsorted(self._starts, wanted, side="right") - 1
        for number in np.unique(owner):
            places = np.flatnonzero(owner == number)
            local = wanted[places] - self._starts[number]
            tokens[places] = self._tokens(int(number), local)
            segments[places], loss[places] = self.shards[number].notes.expand(local, self.index.row_length)
        return Rows(tokens, segments, loss)

    def place(self, row: int) -> tuple[int, int]:
        """Which shard a row is in, and its number there."""
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        return shard, row - int(self._starts[shard])

    def first_row(self, shard: int) -> int:
        """The number of a shard's first row."""
        return int(self._starts[shard])

    def verify(self) -> list[str]:
        """Read everything; the problems found, in words, none when all is well."""
        problems = []
        for entry, shard in zip(self.index.shards, self.shards, strict=True):
            if digest_file(shard.path) != entry.sha256:
                problems.append(f"{shard.path}: SHA-256 differs from index.json")
            for number in range(shard.num_frames):
                try:
                    ids = shard.frame(number)
                except DataError as error:
                    problems.append(error.problem)
                    continue
                if ids.size and int(ids.max()) >= self.index.vocab_size:
                    problems.append(f"{shard.path}: an id {int(ids.max())} beyond the vocabulary")
            if int(shard.notes.used.sum()) != entry.tokens:
                problems.append(
                    f"{shard.path}: {int(shard.notes.used.sum())} tokens, index.json says {entry.tokens}"
                )
        total = sum(entry.tokens for entry in self.index.shards)
        if total != self.index.tokens:
            problems.append(f"{self.path}: index.json says {self.index.tokens} tokens, shards {total}")
        return problems

    def _tokens(self, shard: int, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        frames, places = np.divmod(rows, self.shards[shard].frame_rows)
        found = np.empty((len(rows), self.index.row_length), np.uint32)
        for frame in np.unique(frames):
            inside = frames == frame
            found[inside] = self._frame(shard, int(frame))[places[inside]]
        return found

    def _frame(self, shard: int, number: int) -> NDArray[np.uint32]:
        with self._lock:
            key = (shard, number)
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            content = self._cache[key] = self.shards[shard].frame(number)
            if len(self._cache) > CACHED_FRAMES:
                self._cache.popitem(last=False)
            return content


def frame_rows(row_length: int) -> int:
    """Rows of a frame: as many as FRAME_TOKENS ids hold, at least one."""
    return max(1, FRAME_TOKENS // row_length)


def read_index(path: Path) -> ShardIndex:
    """The index of a shard folder.

    Raises:
        MissingError: no such folder, or no index.json in it.
        DataError: the index is damaged.
    """
    try:
        content = (path / INDEX).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise MissingError(
            f"{path}: no shard folder (no index.json)", hint="llmkit pack -o FOLDER makes one"
        ) from None
    try:
        return msgspec.json.decode(content, type=ShardIndex)
    except MALFORMED as error:
        raise DataError(f"{path / INDEX}: damaged: {error}", hint="pack again") from None
