"""Vectors of an index's passages, and search by them.

    vectors     number of a passage -> its vector: D float16, little-endian, of length 1

A passage that is deleted takes its vector along. The mean of all vectors is taken from each, and from a
query's, when they are compared (Mu and Viswanath, All-but-the-Top, 2018): hidden states of one model have a
direction in common, which says nothing. It is that of the vectors which are there, so that an index that grew
is one that was made at once.

Shapes: N passages, D hidden_size.
"""

import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.softmax import best_of
from llmkit.retrieve.search import Found

ROWS = 4096
"""Vectors that are read, or compared, at once."""
_TABLE = "CREATE TABLE vectors (number INTEGER PRIMARY KEY, vector BLOB NOT NULL)"
_TRIGGER = """
CREATE TRIGGER vectors_follow AFTER DELETE ON passages BEGIN
    DELETE FROM vectors WHERE number = OLD.number;
END;
"""
_FLAT = 1e-6
"""Length below which a vector, less the mean, is only rounding."""


def create_vectors(database: sqlite3.Connection) -> None:
    """Make room for vectors in an index, within the transaction that is open."""
    database.execute(_TABLE)
    database.execute(_TRIGGER)


def has_vectors(database: sqlite3.Connection) -> bool:
    """Whether an index has vectors."""
    return bool(database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'vectors'").fetchone()[0])


def without_vectors(database: sqlite3.Connection, rows: int) -> Iterator[list[tuple[int, str]]]:
    """Passages that have no vector yet, so many at a time: their numbers, and heading and text together."""
    last = 0
    while True:
        found = database.execute(
            "SELECT number, heading, text FROM passages WHERE number > ?"
            " AND number NOT IN (SELECT number FROM vectors) ORDER BY number LIMIT ?",
            (last, rows),
        ).fetchall()
        if not found:
            return
        yield [(number, f"{heading}\n{text}" if heading else text) for number, heading, text in found]
        last = found[-1][0]


def put_vectors(database: sqlite3.Connection, numbers: Sequence[int], vectors: NDArray[np.float32]) -> None:
    """Keep the vectors (N, D), of length 1, of passages by their numbers."""
    stored = vectors.astype("<f2")
    rows = ((number, row.tobytes()) for number, row in zip(numbers, stored, strict=True))
    database.executemany("INSERT INTO vectors VALUES (?, ?)", rows)


class VectorSearch:
    """The cosine of a query's vector with every passage's, less the mean of all."""

    def __init__(self, database: sqlite3.Connection, width: int) -> None:
        """
        Args:
            database: of an index with vectors; they are read now: 2·N·D bytes of memory.
            width: D.
        """
        (count,) = database.execute("SELECT count(*) FROM vectors").fetchone()
        self._numbers = np.empty(count, np.int64)
        self._vectors = np.empty((count, width), np.float16)
        total = np.zeros(width)
        for part, block in self._read(database):
            self._vectors[part] = block
            total += block.sum(0, dtype=np.float64)
        self._mean = (total / max(1, count)).astype(np.float32)
        self._scale = np.empty(count, np.float32)
        for start in range(0, count, ROWS):
            part = slice(start, start + ROWS)
            self._scale[part] = _scale(self._vectors[part].astype(np.float32) - self._mean)

    def search(self, query: NDArray[np.float32], most: int) -> list[Found]:
        """The passages with the highest cosines, -1 to 1, the best first; of equal ones the first added.

        Args:
            query: its vector (D,), of length 1, made as the passages' were.
            most: passages that are looked for.
        """
        vector = query - self._mean
        vector *= _scale(vector[None])[0]
        scores = np.empty(len(self._numbers), np.float32)
        for start in range(0, len(scores), ROWS):
            part = slice(start, start + ROWS)
            scores[part] = self._vectors[part].astype(np.float32) @ vector
        scores = (scores - self._mean @ vector) * self._scale
        best = best_of(scores, most)
        return [Found(int(self._numbers[place]), float(scores[place])) for place in best]

    def _read(self, database: sqlite3.Connection) -> Iterator[tuple[slice, NDArray[np.float16]]]:
        rows = database.execute("SELECT number, vector FROM vectors ORDER BY number")
        start = 0
        while found := rows.fetchmany(ROWS):
            part = slice(start, start + len(found))
            self._numbers[part] = [number for number, _ in found]
            block = np.frombuffer(b"".join(vector for _, vector in found), "<f2")
            yield part, block.reshape(len(found), -1)
            start = part.stop


def _scale(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """One over the length of each row; 0 where there is none."""
    lengths = np.sqrt((rows * rows).sum(-1))
    return np.where(lengths > _FLAT, 1 / np.maximum(lengths, _FLAT), 0).astype(np.float32)
