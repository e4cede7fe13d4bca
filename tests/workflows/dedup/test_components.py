"""Pairs given in parts, beside a graph walked in Python."""

import random

import numpy as np
import pytest

from llmkit.text.bands import split_pairs
from llmkit.workflows.dedup.components import BYTES_PER_PAIR, component_parts, pairs_of
from llmkit.workflows.dedup.pairs import ALIKE
from tests.text.test_clusters import pairs_of_edges, walked

_EDGES = random.Random(3)
EDGES = [(a, b) for a, b in ((_EDGES.randrange(90), _EDGES.randrange(90)) for _ in range(60)) if a != b]


def files_of(count: int) -> list[np.ndarray]:
    """The edges as rows of that many files, sorted."""
    pairs = pairs_of_edges(EDGES)
    rows = np.empty(len(pairs), ALIKE)
    rows["pair"], rows["similarity"] = pairs, np.linspace(0.5, 1, len(pairs))
    return np.array_split(rows, count)


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_every_pair_comes_once_in_one_part_with_all_of_its_component(most: int) -> None:
    files = files_of(3)
    parts = list(component_parts(files, 90, most * BYTES_PER_PAIR))
    given = np.concatenate(parts)
    np.testing.assert_array_equal(given[np.argsort(given["pair"])], np.concatenate(files))
    component = walked(90, EDGES)
    members = [{component[one] for one in split_pairs(pairs_of(rows))[0].tolist()} for rows in parts]
    assert sum(map(len, members)) == len(set().union(*members))
    assert all(len(rows) <= most or len(own) == 1 for rows, own in zip(parts, members, strict=True))
    assert (len(parts) == 1) == (most == 1000)


def test_each_part_is_sorted() -> None:
    for rows in component_parts(files_of(2), 90, 8 * BYTES_PER_PAIR):
        assert (np.diff(rows["pair"].astype(np.int64)) > 0).all()


def test_pairs_alone_come_in_the_same_parts_as_pairs_with_their_similarity() -> None:
    files = files_of(2)
    candidates = [pairs_of(rows).view([("pair", "<u8")]) for rows in files]
    alone = list(component_parts(candidates, 90, 5 * BYTES_PER_PAIR))
    both = list(component_parts(files, 90, 5 * BYTES_PER_PAIR))
    assert len(alone) == len(both) > 1
    for one, other in zip(alone, both, strict=True):
        np.testing.assert_array_equal(one["pair"], other["pair"])
