"""Seeds from a seed: each row and each sample has its own, whatever else is drawn before it."""

import hashlib

SEED_BITS = 48
"""Whole numbers of this many bits survive every JSON reader."""


def derive_seed(seed: int, key: str) -> int:
    """The seed of one part of a job: a hash, so that neither order nor company changes it.

    Args:
        seed: the job's.
        key: what the part is called, such as a row's id.
    """
    digest = hashlib.sha256(f"{seed}\0{key}".encode()).digest()
    return int.from_bytes(digest[: SEED_BITS // 8])
