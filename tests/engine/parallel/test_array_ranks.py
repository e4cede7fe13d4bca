"""What processes add up, for who computes on arrays."""

import threading

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.parallel.array_ranks import ArrayRanks
from llmkit.model.part import Part
from tests.engine.parallel.threads import Meeting, ThreadRanks


def test_arrays_are_summed_in_place_and_scores_put_side_by_side() -> None:
    meeting = Meeting(2)
    ranks = [ArrayRanks(ThreadRanks(Part(index, 2), meeting)) for index in range(2)]
    branches = [np.full((3, 4), 1.0 + index, np.float32) for index in range(2)]
    scores = [np.arange(6, dtype=np.float32).reshape(2, 3) + 100 * index for index in range(2)]
    gathered: list[NDArray[np.float32] | None] = [None, None]

    def run(index: int) -> None:
        ranks[index].sum(branches[index])
        gathered[index] = ranks[index].gathered(scores[index], 6)

    other = threading.Thread(target=run, args=(1,))
    other.start()
    run(0)
    other.join()
    assert all((branch == 3.0).all() for branch in branches)
    assert gathered[0] is not None
    assert np.array_equal(gathered[0], np.concatenate(scores, axis=1))
