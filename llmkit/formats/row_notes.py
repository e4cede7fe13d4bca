"""What a shard knows of its rows beside the ids: documents, how much is real, what carries loss."""

from dataclasses import dataclass

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class RowNotes:
    """Segments of each row (parts of documents) and runs without loss, as flat arrays by row.

    Segment i of row r is number `segment_rows[r] + i`; likewise for the runs.
    """

    used: Int64s
    """(rows,) real tokens; padding follows."""
    segment_rows: Int64s
    """(rows + 1,) where each row's segments begin."""
    starts: Int64s
    """(segments,) where in its row a segment begins."""
    documents: Int64s
    """(segments,) number of the document."""
    offsets: Int64s
    """(segments,) which token of the document stands first."""
    run_rows: Int64s
    """(rows + 1,) where each row's runs begin."""
    run_starts: Int64s
    """(runs,) first token without loss."""
    run_lengths: Int64s

    def encode(self) -> bytes:
        """As a skippable frame's payload: zstd of msgpack of little-endian int64 differences."""
        arrays = {name: _deltas(getattr(self, name)) for name in self.__dataclass_fields__}
        compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
        return compressor.compress(msgspec.msgpack.encode(arrays))

    @classmethod
    def decode(cls, payload: bytes) -> "RowNotes":
        """What `encode` wrote.

        Raises:
            ValueError: it is damaged, or something else.
        """
        try:
            content = zstandard.ZstdDecompressor().decompress(payload)
            arrays = msgspec.msgpack.decode(content, type=dict[str, bytes])
            notes = cls(**{name: np.cumsum(np.frombuffer(one, "<i8")) for name, one in arrays.items()})
        except (zstandard.ZstdError, msgspec.MsgspecError, TypeError) as error:
            raise ValueError(str(error)) from None
        notes._check()
        return notes

    def _check(self) -> None:
        segments, runs = self.segment_rows[-1:], self.run_rows[-1:]
        if not (
            len(self.segment_rows) == len(self.run_rows) == len(self.used) + 1
            and {len(self.starts), len(self.documents), len(self.offsets)} == set(segments.tolist())
            and {len(self.run_starts), len(self.run_lengths)} == set(runs.tolist())
        ):
            raise ValueError("its arrays do not fit together")

    def take(self, rows: Int64s) -> "RowNotes":
        """The notes of some rows, in the order asked for."""
        segment_rows, segments = gather(self.segment_rows, rows)
        run_rows, runs = gather(self.run_rows, rows)
        return RowNotes(
            used=self.used[rows],
            segment_rows=segment_rows,
            starts=self.starts[segments],
            documents=self.documents[segments],
            offsets=self.offsets[segments],
            run_rows=run_rows,
            run_starts=self.run_starts[runs],
            run_lengths=self.run_lengths[runs],
        )

    def expand(self, rows: Int64s, row_length: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """(N, L) segment numbers with -1 on padding, and (N, L) whether a token carries loss."""
        chosen = self.take(rows)
        place = np.repeat(np.arange(len(rows)), np.diff(chosen.segment_rows))
        segments = np.zeros((len(rows), row_length), np.int32)
        np.add.at(segments, (place, chosen.starts), 1)
        segments = np.cumsum(segments, axis=1, dtype=np.int32) - np.int32(1)
        real = np.arange(row_length) < chosen.used[:, None]
        segments[~real] = -1
        loss = real
        run_place = np.repeat(np.arange(len(rows)), np.diff(chosen.run_rows))
        for row, start, length in zip(run_place, chosen.run_starts, chosen.run_lengths, strict=True):
            loss[row, start : start + length] = False
        return segments, loss


def gather(bounds: Int64s, rows: Int64s) -> tuple[Int64s, Int64s]:
    """The items of some rows: new bounds, and where the items stand.

    Args:
        bounds: (rows + 1,) where each row's items begin.
        rows: which, in the order asked for.
    """
    counts = bounds[rows + 1] - bounds[rows]
    fresh = np.concatenate([[0], np.cumsum(counts)])
    positions = np.repeat(bounds[rows] - fresh[:-1], counts) + np.arange(fresh[-1])
    return fresh, positions


def _deltas(values: Int64s) -> bytes:
    return np.diff(values, prepend=0).astype("<i8").tobytes()
