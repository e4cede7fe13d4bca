"""Several threads, and the same bits from any number of them.

A library that shares out one product among threads adds in another order for each number of them. Here work
is cut into pieces that do not depend on the number, and each piece is computed by one thread.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")
_ROWS = 256
"""Of a product, in a piece: enough to fill a thread, few enough to go round."""


class Workers:
    """Inside `with`, torch computes with one thread, and pieces of work with as many as there are workers."""

    def __init__(self, count: int) -> None:
        """count: threads, at least one."""
        self._count = count
        self._kept = 1
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        self._kept = torch.get_num_threads()
        torch.set_num_threads(1)
        if self._count > 1:
            self._pool = ThreadPoolExecutor(self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        torch.set_num_threads(self._kept)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """What a function gives for each item, in their order; it runs without gradients."""

        def run(item: Item) -> Result:
            with torch.inference_mode():
                return function(item)

        return list(map(run, items) if self._pool is None else self._pool.map(run, items))


ALONE = Workers(1)
"""This thread; torch's own threads are as they were."""


def pieces(count: int, size: int = _ROWS) -> Sequence[slice]:
    """So many rows in pieces of one size."""
    return [slice(begin, min(begin + size, count)) for begin in range(0, count, size)]


def row_products(workers: Workers, left: Tensor, right: Tensor) -> Tensor:
    """For each row r of `left` (R, C), `r right rᵀ`, right (C, C): (R,)."""

    def product(rows: slice) -> Tensor:
        part = left[rows]
        return ((part @ right) * part).sum(1)

    return torch.cat(workers.map(product, pieces(len(left))))
