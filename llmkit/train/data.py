"""Rows of one or several shard folders as one numbered sequence, read ahead in a thread of its own."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.shards import Rows
from llmkit.train.order import RowOrder
from llmkit.train.parallel.ranks import WHOLE_BATCH, Share

T = TypeVar("T")


class RowSource(Protocol):
    """Numbered rows, read in any order: a ShardFolder, or several as one."""

    def __len__(self) -> int:
        """Number of rows."""

    def read(self, rows: NDArray[np.int64]) -> Rows:
        """Some rows, in the order asked for."""


class JoinedRows:
    """Several sources, numbered one after the other."""

    def __init__(self, sources: Sequence[RowSource]) -> None:
        self._sources = sources
        self._starts = np.cumsum([0, *(len(source) for source in sources)])

    def __len__(self) -> int:
        """Number of rows of all sources."""
        return int(self._starts[-1])

    def read(self, rows: NDArray[np.int64]) -> Rows:
        """Some rows, in the order asked for."""
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        parts, places = [], []
        for number, source in enumerate(self._sources):
            places.append(np.flatnonzero(owner == number))
            if len(places[-1]):
                parts.append(source.read(rows[places[-1]] - self._starts[number]))
        back = np.argsort(np.concatenate(places), kind="stable")
        return Rows(
            np.concatenate([part.tokens for part in parts])[back],
            np.concatenate([part.segments for part in parts])[back],
            np.concatenate([part.loss for part in parts])[back],
        )


class BatchReader(Generic[T]):
    """The batch of each update in order, the next one read and made while the present one is learnt.

    Args:
        source: where the rows are.
        order: in which they come.
        place: where in the order the rows of an update begin, and how many they are.
        build: what is made of the rows, in the reading thread.
        share: the part of these that is read, where several processes share them.
    """

    def __init__(
        self,
        source: RowSource,
        order: RowOrder,
        place: Callable[[int], tuple[int, int]],
        build: Callable[[Rows], T],
        share: Share = WHOLE_BATCH,
    ) -> None:
        self._source = source
        self._order = order
        self._place = place
        self._build = build
        self._share = share
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="rows")
        self._ahead: tuple[tuple[int, int], Future[T]] | None = None

    def read(self, step: int) -> T:
        """The batch of update `step`, the first being 0; asks for that of the next."""
        place, following = self._place(step), self._place(step + 1)
        if self._ahead is None or self._ahead[0] != place:
            self._ahead = (place, self._pool.submit(self._load, *place))
        batch = self._ahead[1].result()
        self._ahead = (following, self._pool.submit(self._load, *following))
        return batch

    def close(self) -> None:
        """Let the thread go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _load(self, begin: int, count: int) -> T:
        rows = count // self._share.count
        return self._build(self._source.read(self._order.take(begin + self._share.index * rows, rows)))
