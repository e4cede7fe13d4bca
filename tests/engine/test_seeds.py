"""Seeds of parts: their own, the same every time; and random numbers, which are torch's."""

import hashlib
import random

import pytest
import torch

from llmkit.engine.config import MAX_SEED
from llmkit.engine.seeds import SEED_BITS, Chances, derive_seed


def test_a_derived_seed_is_the_first_bits_of_a_hash_over_seed_and_key() -> None:
    digest = hashlib.sha256(b"7\0row 1").hexdigest()
    assert derive_seed(7, "row 1") == int(digest[: SEED_BITS // 4], 16)


def test_neither_order_nor_neighbours_matter_and_no_two_parts_share_a_seed() -> None:
    seeds = {(seed, key): derive_seed(seed, key) for seed in range(20) for key in map(str, range(200))}
    assert len(set(seeds.values())) == len(seeds)
    assert derive_seed(1, "2") != derive_seed(12, "")
    assert max(seeds.values()) < 1 << 53  # every JSON reader keeps such a number whole


def test_random_numbers_are_those_of_torchs_generator_for_the_same_seed() -> None:
    anywhere = random.Random(0)
    seeds = [
        0,
        1,
        2**31,
        2**32 - 1,
        2**32,
        2**32 + 1,
        MAX_SEED,
        *(anywhere.randrange(MAX_SEED) for _ in range(200)),
    ]
    for seed in seeds:
        ours, theirs = Chances(seed), torch.Generator().manual_seed(seed)
        expected = [float(torch.rand(1, generator=theirs, dtype=torch.float64)) for _ in range(5)]
        assert [ours.next() for _ in range(5)] == expected


def test_random_numbers_go_on_as_torchs_do_when_its_state_is_renewed() -> None:
    ours, theirs = Chances(7), torch.Generator().manual_seed(7)
    expected = torch.rand(2000, generator=theirs, dtype=torch.float64).tolist()  # 624 draws of 32 bits a turn
    assert [ours.next() for _ in expected] == expected
    assert min(expected) >= 0 and max(expected) < 1
    assert sum(expected) / 2000 == pytest.approx(0.5, abs=0.02)
