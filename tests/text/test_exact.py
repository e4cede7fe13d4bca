"""Digests, and what is equal by them."""

import random

import numpy as np
import pytest
import xxhash

from llmkit.text import exact
from llmkit.text.exact import Seen, digest_of, first_of_groups


def test_a_digest_is_xxh3_of_128_bits() -> None:
    high, low = digest_of(b"abc")
    assert (high << 64 | low).to_bytes(16, "big") == xxhash.xxh3_128_digest(b"abc")


def test_what_was_seen_is_known_with_its_number_like_a_dictionary_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exact, "_RECENT", 16)
    rng = random.Random(0)
    seen, twin = Seen(), {}
    for number in range(2000):
        digest = (rng.randrange(40), rng.randrange(40))  # many share their upper half
        assert seen.add(digest, number) == twin.get(digest)
        twin.setdefault(digest, number)
    assert len(seen) == len(twin)


def test_many_take_some_24_bytes_each() -> None:
    seen = Seen()
    for number in range(40_000):
        seen.add(digest_of(number.to_bytes(4, "big")), number)
    assert seen.size_bytes <= 24 * 40_000 + 250 * (1 << 14)


def test_the_first_of_a_group_is_that_of_the_lowest_rank() -> None:
    high = np.array([1, 2, 1, 1, 2, 3], np.uint64)
    low = np.array([0, 0, 0, 1, 0, 0], np.uint64)
    assert first_of_groups(high, low, np.array([5, 4, 3, 2, 1, 0])).tolist() == [2, 4, 2, 3, 4, 5]
    assert first_of_groups(high[:0], low[:0], np.array([], int)).tolist() == []
