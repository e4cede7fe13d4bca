"""Which documents of a source make up an amount, and the order of those of all sources.

What a source gives is a prefix of its documents in an order that the seed decides, once through for each
whole epoch. The orders of all sources are laid over each other so that every stretch holds the mixture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmkit.text.mix_amounts import NEARLY


@dataclass(frozen=True)
class Pass:
    """Documents that one source gives, in their order.

    documents: (N,) their numbers; one that comes in two epochs stands there twice.
    epochs: (N,) from 0.
    places: (N,) how much of what the source gives is behind it in the middle of the document, from 0 to 1.
    """

    documents: NDArray[np.int64]
    epochs: NDArray[np.int64]
    places: NDArray[np.float64]


def choose(sizes: NDArray[np.int64], keys: NDArray[np.uint64], amount: float, seed: int) -> Pass:
    """The documents that make up an amount: as near to it as whole documents come.

    Args:
        sizes: (N,) of each document, some above 0.
        keys: (N,) digests: they and the seed decide the order, another one in each epoch.
        amount: in the unit of the sizes; beyond their sum, documents come again.
        seed: of the order.
    """
    size = int(sizes.sum())
    whole = int(amount / size + NEARLY)
    documents: list[NDArray[np.int64]] = []
    for epoch in range(whole + 1):
        order = np.argsort(_mixed(keys, seed, epoch), kind="stable").astype(np.int64)
        if epoch == whole:
            order = order[: _nearest(np.cumsum(sizes[order]), amount - whole * size)]
        documents.append(order)
    chosen = np.concatenate(documents)
    epochs = np.repeat(np.arange(whole + 1), [len(part) for part in documents])
    given = np.cumsum(sizes[chosen])
    middle = given - sizes[chosen] / 2
    return Pass(chosen, epochs, middle / max(1, int(given[-1]) if len(given) else 1))


def interleave(passes: Sequence[Pass]) -> NDArray[np.int64]:
    """The order of the mixture: which pass has the turn, as often as it has documents, in their order."""
    turns = np.repeat(np.arange(len(passes)), [len(one.documents) for one in passes])
    return turns[np.argsort(np.concatenate([one.places for one in passes]), kind="stable")]


def _nearest(sums: NDArray[np.int64], amount: float) -> int:
    """How many documents come nearest to an amount, by the sums of their sizes."""
    count = int(np.searchsorted(sums, amount))
    if count == len(sums):
        return count
    before = int(sums[count - 1]) if count else 0
    return count + (int(sums[count]) - amount < amount - before)


def _mixed(keys: NDArray[np.uint64], seed: int, epoch: int) -> NDArray[np.uint64]:
    """Keys as numbers without a pattern (the last steps of SplitMix64), others for each seed and epoch."""
    start = (seed * 0x9E3779B97F4A7C15 + epoch * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & (2**64 - 1)
    found = keys ^ np.uint64(start)
    found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))
