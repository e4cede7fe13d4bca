"""Which part of which document stands where: from the lengths of documents to rows of one length.

Nothing here reads ids: a plan is made of numbers, then rows are copied together by it.
R rows of L = seq_len + 1 ids, P pieces: a piece is a document, or the part of one that stands in a row.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.row_notes import RowNotes, gather
from llmkit.tokens.best_fit import Int64s, best_fit
from llmkit.tokens.config import PackConfig
from llmkit.tokens.permutation import permutation


@dataclass(frozen=True)
class RowPlan:
    """Pieces in the order of their rows, and within a row of their documents."""

    bounds: Int64s
    """(R + 1,) where each row's pieces begin."""
    document: Int64s
    """(P,)"""
    offset: Int64s
    """(P,) which id of the document comes first."""
    length: Int64s
    """(P,)"""

    @property
    def rows(self) -> int:
        """R."""
        return len(self.bounds) - 1

    @property
    def start(self) -> Int64s:
        """(P,) where in its row a piece begins."""
        before = np.cumsum(self.length) - self.length
        return before - np.repeat(before[self.bounds[:-1]], np.diff(self.bounds))

    @property
    def cut_documents(self) -> int:
        """Documents that stand in more than one row."""
        return int((np.bincount(self.document) > 1).sum())

    def take(self, begin: int, end: int) -> "RowPlan":
        """The plan of some rows."""
        part = slice(int(self.bounds[begin]), int(self.bounds[end]))
        bounds = self.bounds[begin : end + 1] - self.bounds[begin]
        return RowPlan(bounds, self.document[part], self.offset[part], self.length[part])


def plan_rows(lengths: Int64s, config: PackConfig) -> RowPlan:
    """Lay documents out in rows.

    Args:
        lengths: (documents,) ids of each; one without ids stands nowhere.
        config: a document longer than a row is split here; `truncate` and `drop` are done before.
    """
    if config.strategy == "concat":
        pieces, row_of, rows = _end_to_end(lengths, config.row_length)
    else:
        pieces = _split(lengths, config.row_length)
        if config.strategy == "best-fit":
            row_of, rows = best_fit(pieces.length, config.row_length)
        else:
            row_of, rows = next_fit(pieces.length, config.row_length)
    return _arrange(pieces, row_of, rows, config)


def next_fit(sizes: Int64s, capacity: int) -> tuple[Int64s, int]:
    """Items in their order, each into the present bin or, where it does not fit, into a new one."""
    bin_of = np.empty(len(sizes), np.int64)
    ends = np.cumsum(sizes)
    start = count = 0
    while start < len(sizes):
        before = ends[start] - sizes[start]
        stop = int(np.searchsorted(ends, before + capacity, side="right"))
        bin_of[start:stop] = count
        start, count = stop, count + 1
    return bin_of, count


def copy_rows(plan: RowPlan, tokens: NDArray[Any], starts: Int64s, row_length: int, pad: int) -> NDArray[Any]:
    """(R, L) the ids of some rows, `pad` where a row has none.

    Args:
        plan: of these rows.
        tokens: all documents end to end.
        starts: (documents,) where each begins in `tokens`.
    """
    rows = np.full(plan.rows * row_length, pad, tokens.dtype)
    first = np.repeat(np.arange(plan.rows) * row_length, np.diff(plan.bounds)) + plan.start
    rows[_ranges(first, plan.length)] = tokens[_ranges(starts[plan.document] + plan.offset, plan.length)]
    return rows.reshape(plan.rows, row_length)


def notes_of(plan: RowPlan, runs: Int64s, run_bounds: Int64s) -> RowNotes:
    """What a shard keeps of its rows beside the ids.

    Args:
        plan: of the shard's rows.
        runs: (n, 2) start and length in its document of each run without loss.
        run_bounds: (documents + 1,) where each document's runs begin in `runs`.
    """
    ends = np.concatenate([[0], np.cumsum(plan.length)])[plan.bounds]
    pair_bounds, pairs = gather(run_bounds, plan.document)
    piece = np.repeat(np.arange(len(plan.document)), np.diff(pair_bounds))  # (pairs,) of a piece and a run
    begin = runs[pairs, 0] - plan.offset[piece]
    end = np.minimum(begin + runs[pairs, 1], plan.length[piece])
    begin = np.maximum(begin, 0)
    kept = end > begin
    piece, begin, end = piece[kept], begin[kept], end[kept]
    row_of_piece = np.repeat(np.arange(plan.rows), np.diff(plan.bounds))
    in_row = np.bincount(row_of_piece[piece], minlength=plan.rows)
    return RowNotes(
        used=np.diff(ends),
        segment_rows=plan.bounds,
        starts=plan.start,
        documents=plan.document,
        offsets=plan.offset,
        run_rows=np.concatenate([[0], np.cumsum(in_row)]),
        run_starts=plan.start[piece] + begin,
        run_lengths=end - begin,
    )


@dataclass(frozen=True)
class _Pieces:
    """In the order of the documents."""

    document: Int64s
    offset: Int64s
    length: Int64s


def _split(lengths: Int64s, row_length: int) -> _Pieces:
    """Documents in parts of a row's length, the last part shorter."""
    parts = -(-lengths // row_length)
    document = np.repeat(np.arange(len(lengths)), parts)
    number = np.arange(len(document)) - np.repeat(np.cumsum(parts) - parts, parts)
    offset = number * row_length
    return _Pieces(document, offset, np.minimum(row_length, lengths[document] - offset))


def _end_to_end(lengths: Int64s, row_length: int) -> tuple[_Pieces, Int64s, int]:
    """Documents one after another, cut where a row ends."""
    starts = np.cumsum(lengths) - lengths
    total = int(lengths.sum())
    cuts = np.unique(np.concatenate([starts[lengths > 0], np.arange(0, total, row_length)]))
    document = np.searchsorted(starts + lengths, cuts, side="right")  # the first that ends after the cut
    pieces = _Pieces(document, cuts - starts[document], np.diff(cuts, append=total))
    return pieces, cuts // row_length, -(-total // row_length)


def _arrange(pieces: _Pieces, row_of: Int64s, rows: int, config: PackConfig) -> RowPlan:
    """Rows in the order of their first documents, or in that order shuffled."""
    first = np.full(rows, len(row_of))
    np.minimum.at(first, row_of, np.arange(len(row_of)))
    place = np.empty(rows, np.int64)  # of each row
    order = np.argsort(first, kind="stable")
    place[order[permutation(rows, config.seed)] if config.shuffle else order] = np.arange(rows)
    into = np.argsort(place[row_of], kind="stable")
    counts = np.bincount(place[row_of], minlength=rows)
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return RowPlan(bounds, pieces.document[into], pieces.offset[into], pieces.length[into])


def _ranges(first: Int64s, length: Int64s) -> Int64s:
    """`first[0], first[0] + 1, …` for each length, end to end."""
    before = np.cumsum(length) - length
    return np.repeat(first - before, length) + np.arange(int(length.sum()))
