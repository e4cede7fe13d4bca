"""The shingles of candidates, found again by the numbers of their documents."""

import itertools

import numpy as np

from llmkit.text.shingles import shingle, shingle_set
from llmkit.workflows.dedup.shingles import ShingleStore

TEXTS = [f"text {n} " + "with the same words in each of them " * (n + 1) for n in range(9)]
SETS = [shingle_set(shingle([text]).hashes) for text in TEXTS]


def store_of(*parts: list[int]) -> ShingleStore:
    return ShingleStore(
        [
            (
                np.array(documents, np.uint32),
                np.array([len(SETS[one]) for one in documents], np.uint32),
                np.concatenate([np.empty(0, np.uint32), *(SETS[one] for one in documents)]).astype(np.uint32),
            )
            for documents in parts
        ]
    )


def test_sets_are_gathered_from_all_units_in_order() -> None:
    store = store_of([0, 1, 3], [], [4, 6, 7], [8])
    for chosen in ([0], [3, 4], [1, 6, 8], [0, 1, 3, 4, 6, 7, 8], []):
        found, offsets = store.gather(np.array(chosen, np.uint32))
        assert len(offsets) == len(chosen) + 1
        parts = [found[a:b].tolist() for a, b in itertools.pairwise(offsets)]
        assert parts == [SETS[one].tolist() for one in chosen]
