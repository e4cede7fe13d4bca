"""The index of a collection: documents, their passages and inverted indexes in one SQLite file.

    meta        name -> value: the schema, how passages are cut, which numbers words have, the next passage's
    documents   id, digest of the text, the record without its text, its passages first .. last
    passages    number, document, start, end, heading, text
    segments    the numbers of some passages and their Postings (retrieve/postings.py)
    blocks      of a segment's postings, so many a row, so that a search reads those of its words alone
    gone        the numbers of passages that were deleted and still are in a segment

Adding makes a new segment; small ones are merged, which leaves out what is gone.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError
from llmkit.retrieve.incoming import SEGMENT_CHARACTERS, Incoming
from llmkit.retrieve.passages import Passage
from llmkit.retrieve.postings import ALGORITHM, Postings, Segment, merge_postings

_Record = dict[str, msgspec.Raw]
SCHEMA = "llmkit.retrieve/1"
MOST_SMALL = 8
"""Segments below half of that; more are merged into one."""
PAGE_BYTES = 1 << 14
BLOCK = 1 << 14
"""Postings of a row of `blocks`."""
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,
                        record BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE TABLE passages (number INTEGER PRIMARY KEY, document INTEGER NOT NULL, start INTEGER NOT NULL,
                       end INTEGER NOT NULL, heading TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE segments (number INTEGER PRIMARY KEY, num_words INTEGER NOT NULL, passages BLOB NOT NULL,
                       words BLOB NOT NULL, starts BLOB NOT NULL, lengths BLOB NOT NULL);
CREATE TABLE blocks (segment INTEGER, block INTEGER, passages BLOB NOT NULL, counts BLOB NOT NULL,
                     PRIMARY KEY (segment, block));
CREATE TABLE gone (number INTEGER PRIMARY KEY);
"""


class StoredPassage(NamedTuple):
    """A passage as it is kept."""

    number: int
    document: str
    """The id of its document."""
    start: int
    end: int
    heading: str
    text: str
    record: _Record
    """The document's, without its text."""


class Store:
    """An index in an open `database`. Changes are kept by `commit`, and not before.

    Raises:
        DataError: the database holds something else, or words have other numbers there.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        if self.setting("schema") != SCHEMA or self.setting("words") != ALGORITHM:
            raise DataError(
                f"an index of another kind (schema {self.setting('schema')}, words {self.setting('words')})",
                hint="make it again: llmkit retrieve index DOCUMENTS -o INDEX --force",
            )
        self._incoming = Incoming(database, int(self.setting("next") or 1), self._insert)

    @classmethod
    def create(cls, database: sqlite3.Connection, settings: dict[str, Any]) -> "Store":
        """Make an empty index.

        Args:
            database: an empty one.
            settings: how passages are cut, kept for those added later.
        """
        database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        database.executescript(_TABLES)
        values = {"schema": SCHEMA, "words": ALGORITHM, "settings": msgspec.json.encode(settings).decode()}
        database.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
        return cls(database)

    @property
    def settings(self) -> dict[str, Any]:
        """How passages are cut."""
        return msgspec.json.decode(self.setting("settings") or "{}", type=dict[str, Any])

    @property
    def num_documents(self) -> int:
        """Documents in it."""
        self.flush()
        return int(self._value("SELECT count(*) FROM documents"))

    @property
    def num_passages(self) -> int:
        """Passages in it."""
        self.flush()
        return int(self._value("SELECT count(*) FROM passages"))

    def first_ids(self, most: int) -> list[str]:
        """The ids of the documents that came first."""
        query = "SELECT id FROM documents ORDER BY number LIMIT ?"
        return [identity for (identity,) in self.database.execute(query, (most,))]

    def setting(self, name: str) -> str | None:
        """A value of `meta`; None where there is none."""
        try:
            return self._value("SELECT value FROM meta WHERE name = ?", name)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise
            raise DataError(
                f"not an index of llmkit ({error})", hint="llmkit retrieve index DOCUMENTS -o INDEX"
            ) from None

    @contextmanager
    def one_state(self) -> Iterator[int]:
        """Let all that is read within be of one state, and no other process commit meanwhile.

        Gives a number, which is another one when others have committed since.
        """
        self.database.execute("BEGIN")
        try:
            yield int(self._value("PRAGMA data_version"))
        finally:
            self.database.rollback()

    def digests_of(self, identities: Sequence[str]) -> dict[str, str]:
        """The digests of documents' texts as they were added, by id, of those that are in the index."""
        self.flush()
        marks = ",".join("?" * len(identities))
        query = f"SELECT id, digest FROM documents WHERE id IN ({marks})"
        return dict(self.database.execute(query, identities).fetchall())

    def add(self, identity: str, digest: str, record: bytes, text: str, found: Iterable[Passage]) -> int:
        """Add a document; returns how many passages it has.

        Args:
            identity: not in the index yet.
            digest: of its text.
            record: JSON object of what else is known of it.
            text: its text.
            found: its passages.
        """
        return self._incoming.add(identity, digest, record, text, found)

    def describe(self, records: Mapping[str, bytes]) -> int:
        """Give documents, by id, other records than those they were added with; how many had another."""
        self.flush()
        change = "UPDATE documents SET record = :record WHERE id = :id AND record <> :record"
        rows = ({"id": identity, "record": record} for identity, record in records.items())
        return max(0, self.database.executemany(change, rows).rowcount)

    def flush(self) -> None:
        """Let whoever reads the tables see what was added; words become searchable by `commit`."""
        self._incoming.write_rows()

    def delete(self, identity: str) -> bool:
        """Take a document out; whether it was in."""
        self.flush()
        row = self.database.execute(
            "SELECT number, first, last FROM documents WHERE id = ?", (identity,)
        ).fetchone()
        if row is None:
            return False
        number, first, last = row
        self._incoming.forget(first, last)
        self.database.execute("DELETE FROM passages WHERE number BETWEEN ? AND ?", (first, last))
        self.database.execute("DELETE FROM documents WHERE number = ?", (number,))
        return True

    def commit(self) -> None:
        """Index what was added, merge what became many, and keep it."""
        self.flush()
        self._incoming.write_words()
        small = self.database.execute(
            "SELECT number FROM segments WHERE num_words < ? ORDER BY number", (SEGMENT_CHARACTERS // 12,)
        ).fetchall()
        if len(small) > MOST_SMALL:
            self.merge([number for (number,) in small])
        self.database.execute(
            "INSERT OR REPLACE INTO meta VALUES ('next', ?)", (str(self._incoming.next_passage),)
        )
        self.database.commit()

    def merge(self, numbers: Sequence[int] | None = None) -> None:
        """Make one segment of several (all, unless some are named), without what is gone."""
        merged = [one for one in self.segments() if numbers is None or one.number in numbers]
        if not merged:
            return
        stays = [one.present for one in merged]
        postings = merge_postings([self._postings(one) for one in merged], stays)
        kept = np.concatenate([one.passages[own] for one, own in zip(merged, stays, strict=True)])
        lost = np.concatenate([one.passages[~own] for one, own in zip(merged, stays, strict=True)])
        self.database.executemany("DELETE FROM gone WHERE number = ?", ((int(one),) for one in lost))
        for one in merged:
            self.database.execute("DELETE FROM segments WHERE number = ?", (one.number,))
            self.database.execute("DELETE FROM blocks WHERE segment = ?", (one.number,))
        self._insert(kept, postings)

    def segments(self) -> list[Segment]:
        """The segments, with what a search needs of each at once."""
        rows = self.database.execute("SELECT number FROM gone ORDER BY number").fetchall()
        gone = np.array(rows, np.int64).reshape(-1)
        return [
            Segment(
                number,
                passages := np.frombuffer(blobs[0], "<i8"),
                np.frombuffer(blobs[1], "<u4"),
                np.frombuffer(blobs[2], "<u8"),
                np.frombuffer(blobs[3], "<u4"),
                ~np.isin(passages, gone),
            )
            for number, *blobs in self.database.execute(
                "SELECT number, passages, words, starts, lengths FROM segments ORDER BY number"
            )
        ]

    def postings_of(
        self, segment: Segment, word: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint16]] | None:
        """The passages of a segment that have a word, from 0, and how often; None where none has it."""
        place = int(np.searchsorted(segment.words, np.uint32(word)))
        if place == len(segment.words) or segment.words[place] != word:
            return None
        start, stop = int(segment.starts[place]), int(segment.starts[place + 1])
        passages, counts = self._postings_between(segment.number, start, stop)
        stays = segment.present[passages]
        if not stays.any():  # all that had it were deleted
            return None
        return (passages, counts) if stays.all() else (passages[stays], counts[stays])

    def passages_of(self, numbers: Sequence[int]) -> list[StoredPassage]:
        """Passages by their numbers, in that order."""
        marks = ",".join("?" * len(numbers))
        rows = self.database.execute(
            "SELECT p.number, d.id, p.start, p.end, p.heading, p.text, d.record FROM passages AS p"
            f" JOIN documents AS d ON d.number = p.document WHERE p.number IN ({marks})",
            list(numbers),
        )
        read = {
            number: StoredPassage(
                number, document, start, end, heading, text, msgspec.json.decode(record, type=_Record)
            )
            for number, document, start, end, heading, text, record in rows
        }
        return [read[number] for number in numbers]

    def _postings_between(
        self, segment: int, start: int, stop: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        first = start // BLOCK
        rows = self.database.execute(
            "SELECT passages, counts FROM blocks WHERE segment = ? AND block BETWEEN ? AND ? ORDER BY block",
            (segment, first, (stop - 1) // BLOCK),
        ).fetchall()
        part = slice(start - first * BLOCK, stop - first * BLOCK)
        passages = np.frombuffer(b"".join(row[0] for row in rows), "<u4")
        counts = np.frombuffer(b"".join(row[1] for row in rows), "<u2")
        return passages[part], counts[part]

    def _postings(self, segment: Segment) -> Postings:
        passages, counts = self._postings_between(segment.number, 0, int(segment.starts[-1]))
        return Postings(segment.words, segment.starts, passages, counts, segment.lengths)

    def _insert(self, numbers: NDArray[np.int64], postings: Postings) -> None:
        words, starts, passages, counts, lengths = postings
        row = [numbers.astype("<i8"), words.astype("<u4"), starts.astype("<u8"), lengths.astype("<u4")]
        cursor = self.database.execute(
            "INSERT INTO segments (num_words, passages, words, starts, lengths) VALUES (?, ?, ?, ?, ?)",
            (int(lengths.sum()), *(one.tobytes() for one in row)),
        )
        self.database.executemany(
            "INSERT INTO blocks VALUES (?, ?, ?, ?)",
            (
                (
                    cursor.lastrowid,
                    start // BLOCK,
                    passages[start : start + BLOCK].astype("<u4").tobytes(),
                    counts[start : start + BLOCK].astype("<u2").tobytes(),
                )
                for start in range(0, len(passages), BLOCK)
            ),
        )

    def _value(self, query: str, *values: Any) -> Any:
        row = self.database.execute(query, values).fetchone()
        return None if row is None else row[0]
