"""Pairs of answers, or single ones, as rows to learn from: each answer a segment of its row.

Segment 0 is the chosen or desirable answer and segment 1 the rejected or undesirable one, each with its
prompt.

Shapes: N rows, L ids of the longest of them.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError
from llmkit.formats.shards import Rows


class Answer(Protocol):
    """A prompt and what was answered, as ids."""

    @property
    def ids(self) -> Sequence[int] | NDArray[np.uint32]:
        """All of them."""

    @property
    def learnt(self) -> Sequence[bool] | NDArray[np.bool_]:
        """Of each id, whether it is learnt: those of the answer."""


@dataclass(frozen=True)
class Tokens:
    """An Answer, as it is."""

    ids: Sequence[int] | NDArray[np.uint32]
    learnt: Sequence[bool] | NDArray[np.bool_]


class PairRows:
    """A RowSource in memory: a row a pair, or a single answer.

    Rows are as long as the longest of those that are read together, so that short batches cost little.

    Args:
        pairs: (chosen, rejected); (answer, None) is desirable and (None, answer) undesirable.

    Raises:
        DataError: an answer has no token to learn, there is neither answer of a pair, or no pair at all.
    """

    def __init__(self, pairs: Iterable[tuple[Answer | None, Answer | None]]) -> None:
        ids: list[NDArray[np.uint32]] = []
        learnt: list[NDArray[np.bool_]] = []
        lengths: list[tuple[int, int]] = []
        for number, pair in enumerate(pairs):
            if pair[0] is None and pair[1] is None:
                raise DataError(f"pair {number}: neither answer is there", hint="give at least one of them")
            for answer in pair:
                if answer is not None:
                    ids.append(np.asarray(answer.ids, np.uint32))
                    learnt.append(_mask_of(answer, number))
            lengths.append((_length(pair[0]), _length(pair[1])))
        if not lengths:
            raise DataError("no pairs to learn from", hint="see which records were left out, and why")
        self._ids, self._learnt = np.concatenate(ids), np.concatenate(learnt)
        self._lengths = np.asarray(lengths, np.int64)  # (N, 2)
        self._ends = self._lengths.sum(1).cumsum()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._lengths)

    @property
    def row_length(self) -> int:
        """Ids of the longest row."""
        return int(self._lengths.sum(1).max())

    @property
    def digest(self) -> str:
        """SHA-256 of all rows: what a resumed run compares."""
        digest = hashlib.sha256(self._lengths.astype("<i8").tobytes())
        digest.update(self._ids.astype("<u4").tobytes())
        digest.update(self._learnt.tobytes())
        return digest.hexdigest()

    def read(self, rows: NDArray[np.int64]) -> Rows:
        """Some rows, in the order asked for."""
        parts = []
        for row in rows.tolist():
            first, second = self._lengths[row].tolist()
            start = int(self._ends[row]) - first - second
            spans = ((0, start, start + first), (1, start + first, start + first + second))
            parts.append(
                [
                    (segment, Tokens(self._ids[low:high], self._learnt[low:high]))
                    for segment, low, high in spans
                    if high > low
                ]
            )
        return build_rows(parts)


def build_rows(rows: Sequence[Sequence[tuple[int, Answer]]]) -> Rows:
    """Rows of numbered segments, one after the other, padded to the longest row.

    Args:
        rows: of each, its segments' numbers, rising, and what is in them.
    """
    N = len(rows)
    L = max(sum(len(answer.ids) for _, answer in row) for row in rows)
    tokens = np.zeros((N, L), np.uint32)
    segments = np.full((N, L), -1, np.int32)
    loss = np.zeros((N, L), np.bool_)
    for number, row in enumerate(rows):
        start = 0
        for segment, answer in row:
            place = slice(start, start + len(answer.ids))
            tokens[number, place] = answer.ids
            segments[number, place] = segment
            loss[number, place] = answer.learnt
            start = place.stop
    return Rows(tokens, segments, loss)


def _mask_of(answer: Answer, number: int) -> NDArray[np.bool_]:
    mask = np.asarray(answer.learnt, np.bool_)
    if len(mask) != len(answer.ids):
        raise ValueError(f"pair {number}: {len(answer.ids)} ids and {len(mask)} marks")
    if not mask[1:].any():  # the first id of a text is nobody's target
        raise DataError(
            f"pair {number}: an answer has no token to learn",
            hint="raise --max-tokens if it was cut away, or take the record out",
        )
    return mask


def _length(answer: Answer | None) -> int:
    return 0 if answer is None else len(answer.ids)
