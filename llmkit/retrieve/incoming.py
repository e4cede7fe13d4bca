"""Documents on their way into an index: rows are written many at once, words when they are many."""

import sqlite3
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from llmkit.retrieve.passages import Passage
from llmkit.retrieve.postings import Postings, build_postings, word_numbers

SEGMENT_CHARACTERS = 1 << 24
"""Of the passages of a segment while an index is made: about 200 MB of memory."""
ROWS = 1 << 9
"""Passages that are written together: a statement a row takes as long again as the row."""


class Incoming:
    """What was added to an index and is not all in its tables yet."""

    def __init__(
        self,
        database: sqlite3.Connection,
        next_passage: int,
        make_segment: Callable[[NDArray[np.int64], Postings], None],
    ) -> None:
        """
        Args:
            database: of the index.
            next_passage: the number of the next passage.
            make_segment: keeps the words of passages, given by their numbers.
        """
        self.next_passage = next_passage
        self._database, self._make_segment = database, make_segment
        (last,) = database.execute("SELECT coalesce(max(number), 0) FROM documents").fetchone()
        self._next_document = last + 1
        self._documents: list[tuple[int, str, str, bytes, int, int]] = []
        self._passages: list[tuple[int, int, int, int, str, str]] = []
        self._words: dict[int, str] = {}
        self._num_characters = 0

    def add(self, identity: str, digest: str, record: bytes, text: str, found: Iterable[Passage]) -> int:
        """See `Store.add`."""
        document, first = self._next_document, self.next_passage
        number = first
        for start, end, heading in found:
            part = text[start:end]
            self._passages.append((number, document, start, end, heading, part))
            self._words[number] = words = f"{heading}\n{part}" if heading else part
            self._num_characters += len(words)
            number += 1
        self._documents.append((document, identity, digest, record, first, number - 1))
        self._next_document, self.next_passage = document + 1, number
        if len(self._passages) >= ROWS or len(self._documents) >= ROWS:
            self.write_rows()
        if self._num_characters >= SEGMENT_CHARACTERS:
            self.write_words()
        return number - first

    def forget(self, first: int, last: int) -> None:
        """Passages first .. last are taken out: those whose words wait never get into a segment."""
        for number in range(first, last + 1):
            text = self._words.pop(number, None)
            if text is None:
                self._database.execute("INSERT INTO gone VALUES (?)", (number,))
            else:
                self._num_characters -= len(text)

    def write_rows(self) -> None:
        """Documents and passages into their tables."""
        if not self._documents:
            return  # a statement would begin a transaction
        self._database.executemany("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?)", self._documents)
        self._database.executemany("INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?)", self._passages)
        self._documents, self._passages = [], []

    def write_words(self) -> None:
        """The words of what was added into a segment."""
        if self._words:
            words, offsets = word_numbers(list(self._words.values()))
            self._make_segment(np.fromiter(self._words, np.int64), build_postings(words, offsets))
        self._words, self._num_characters = {}, 0
