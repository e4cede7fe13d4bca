"""Lots: as near to the amount as documents come, each once an epoch, the mixture in every stretch."""

import numpy as np
import pytest

from llmkit.text.mix_order import choose, interleave

SIZES = np.random.default_rng(3).integers(1, 200, 500).astype(np.int64)
KEYS = np.random.default_rng(4).integers(0, 2**63, 500).astype(np.uint64)


@pytest.mark.parametrize("epochs", [0.2, 1.0, 2.37])
def test_the_amount_is_met_to_half_a_document_and_nothing_comes_twice_in_an_epoch(epochs: float) -> None:
    amount = float(SIZES.sum()) * epochs
    taken = choose(SIZES, KEYS, amount, seed=0)
    assert abs(SIZES[taken.documents].sum() - amount) <= SIZES.max() / 2
    for epoch in range(int(epochs) + 1):
        mine = taken.documents[taken.epochs == epoch]
        assert len(set(mine.tolist())) == len(mine)
        assert epoch == int(epochs) or len(mine) == len(SIZES)
    assert np.all(np.diff(taken.epochs) >= 0) and np.all(np.diff(taken.places) > 0)
    assert taken.places[0] > 0 and taken.places[-1] < 1


def test_the_seed_the_epoch_and_the_keys_decide_the_order_and_not_where_a_document_stands() -> None:
    first = choose(SIZES, KEYS, 20_000, seed=0)
    assert set(choose(SIZES, KEYS, 20_000, seed=1).documents) != set(first.documents)
    twice = choose(SIZES, KEYS, 2.0 * SIZES.sum(), seed=0).documents
    assert twice[:500].tolist() != twice[500:].tolist()
    shuffle = np.random.default_rng(5).permutation(500)
    moved = choose(SIZES[shuffle], KEYS[shuffle], 20_000, seed=0)
    assert shuffle[moved.documents].tolist() == first.documents.tolist()


def test_more_of_the_same_source_adds_to_what_was_taken() -> None:
    less, more = choose(SIZES, KEYS, 10_000, seed=0), choose(SIZES, KEYS, 30_000, seed=0)
    assert more.documents[: len(less.documents)].tolist() == less.documents.tolist()


def test_lots_are_fair() -> None:
    ones = np.ones(500, np.int64)
    hits = np.zeros(500)
    for seed in range(400):
        hits[choose(ones, KEYS, 100, seed).documents] += 1
    assert hits.sum() == 400 * 100
    assert abs(hits - 80).max() < 5 * (400 * 0.2 * 0.8) ** 0.5  # five sigma of a binomial


def test_every_stretch_has_the_mixture() -> None:
    passes = [choose(SIZES, KEYS, 30_000, seed=0), choose(SIZES, KEYS, 10_000, seed=1)]
    turns = interleave(passes)
    sizes = np.empty(len(turns), np.int64)
    for number, one in enumerate(passes):
        sizes[turns == number] = SIZES[one.documents]
    first = np.cumsum(np.where(turns == 0, sizes, 0))
    assert abs(first - 0.75 * np.cumsum(sizes)).max() <= 200  # one document
    assert np.bincount(turns).tolist() == [len(one.documents) for one in passes]


def test_an_amount_of_less_than_half_a_document_is_none() -> None:
    alone = np.array([100], np.int64), np.array([7], np.uint64)
    assert len(choose(*alone, 49, seed=0).documents) == 0 and len(choose(*alone, 51, seed=0).documents) == 1
    assert interleave([choose(*alone, 10, seed=0)]).tolist() == []
