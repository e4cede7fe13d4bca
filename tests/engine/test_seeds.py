"""Seeds of parts: their own, the same every time."""

import hashlib

from llmkit.engine.seeds import SEED_BITS, derive_seed


def test_a_derived_seed_is_the_first_bits_of_a_hash_over_seed_and_key() -> None:
    digest = hashlib.sha256(b"7\0row 1").hexdigest()
    assert derive_seed(7, "row 1") == int(digest[: SEED_BITS // 4], 16)


def test_neither_order_nor_neighbours_matter_and_no_two_parts_share_a_seed() -> None:
    seeds = {(seed, key): derive_seed(seed, key) for seed in range(20) for key in map(str, range(200))}
    assert len(set(seeds.values())) == len(seeds)
    assert derive_seed(1, "2") != derive_seed(12, "")
    assert max(seeds.values()) < 1 << 53  # every JSON reader keeps such a number whole
