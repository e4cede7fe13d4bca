"""Seeds from a seed: each row and each sample has its own, whatever else is drawn before it; and the random
numbers that follow from one."""

import hashlib
from functools import cached_property

import numpy as np

SEED_BITS = 48
"""Whole numbers of this many bits survive every JSON reader."""
_FRACTION_BITS = 53
"""Of a float64."""


class Chances:
    """Random numbers of one text: those of torch.Generator, the Mersenne Twister, for the same seed."""

    def __init__(self, seed: int) -> None:
        """seed: its lower 32 bits count."""
        self._seed = seed & 0xFFFFFFFF

    def next(self) -> float:
        """A number from 0 to 1, which itself never comes."""
        drawn = int(self._twister.randint(1 << 64, dtype=np.uint64))  # two draws of 32 bits
        return (drawn & ((1 << _FRACTION_BITS) - 1)) * 2.0**-_FRACTION_BITS

    @cached_property
    def _twister(self) -> np.random.RandomState:
        """Made for those who need it: a greedy text is drawn before this is."""
        return np.random.RandomState(self._seed)


def derive_seed(seed: int, key: str) -> int:
    """The seed of one part of a job: a hash, so that neither order nor company changes it.

    Args:
        seed: the job's.
        key: what the part is called, such as a row's id.
    """
    digest = hashlib.sha256(f"{seed}\0{key}".encode()).digest()
    return int.from_bytes(digest[: SEED_BITS // 8])
