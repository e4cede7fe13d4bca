"""Candidate pairs against a loop over all pairs."""

from itertools import combinations, pairwise

import numpy as np

from llmkit.text.bands import LONG_RUN, candidate_pairs, join_pairs, key_ranges, split_pairs


def numbered(pairs: np.ndarray) -> list[tuple[int, int]]:
    first, second = split_pairs(pairs)
    return list(zip(first.tolist(), second.tolist(), strict=True))


def test_short_runs_give_all_their_pairs() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 40, 120).astype(np.uint64) << np.uint64(50)
    keys = keys[np.argsort([np.sum(keys[:place] == key) >= LONG_RUN for place, key in enumerate(keys)])]
    documents = rng.permutation(200)[: len(keys)].astype(np.uint32)
    short = {key for key in keys.tolist() if (keys == key).sum() <= LONG_RUN}
    chosen = np.isin(keys, list(short))
    expected = sorted(
        tuple(sorted((int(a), int(b))))
        for (k, a), (m, b) in combinations(zip(keys[chosen], documents[chosen], strict=True), 2)
        if k == m
    )
    assert numbered(candidate_pairs(keys[chosen], documents[chosen], lambda run: run)) == expected


def test_a_long_run_gives_a_star_and_a_chain_in_the_order_of_digests() -> None:
    documents = np.arange(20, dtype=np.uint32)
    digests = np.random.default_rng(1).permutation(20).astype(np.uint64)
    pairs = numbered(candidate_pairs(np.zeros(20, np.uint64), documents, lambda run: digests[run]))
    order = np.argsort(digests).tolist()
    star = {tuple(sorted((order[0], other))) for other in order[1:]}
    chain = {tuple(sorted(pair)) for pair in pairwise(order)}
    assert set(pairs) == star | chain and len(pairs) < 2 * 20


def test_a_long_run_gives_the_same_pairs_whatever_its_documents_are_numbered() -> None:
    digests = np.random.default_rng(2).integers(0, 1 << 60, 12).astype(np.uint64)

    def by_digest(order: np.ndarray) -> set[tuple[int, ...]]:
        own = digests[order]
        pairs = candidate_pairs(np.ones(12, np.uint64), np.arange(12, dtype=np.uint32), lambda run: own[run])
        return {tuple(sorted((int(own[a]), int(own[b])))) for a, b in numbered(pairs)}

    assert by_digest(np.arange(12)) == by_digest(np.random.default_rng(3).permutation(12))


def test_nothing_alike_gives_no_pairs() -> None:
    assert (
        len(candidate_pairs(np.arange(5, dtype=np.uint64), np.arange(5, dtype=np.uint32), lambda x: x)) == 0
    )
    assert len(candidate_pairs(np.empty(0, np.uint64), np.empty(0, np.uint32), lambda x: x)) == 0


def test_ranges_cover_all_numbers_once() -> None:
    ranges = list(key_ranges(1000, 4096, 40))
    assert len(ranges) == 10 and ranges[0][0] == 0 and ranges[-1][1] == 2**64 - 1
    assert all(before[1] + 1 == after[0] for before, after in pairwise(ranges))
    assert list(key_ranges(0, 4096, 40)) == [(0, 2**64 - 1)]


def test_pairs_keep_the_lower_document_first() -> None:
    pairs = join_pairs(np.array([5, 1], np.uint32), np.array([2, 4_000_000_000], np.uint32))
    assert numbered(pairs) == [(2, 5), (1, 4_000_000_000)]
