"""A seeded order of whole numbers that depends on nothing else: no library's generator, no threads."""

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def permutation(count: int, seed: int, epoch: int = 0) -> NDArray[np.int64]:
    """The numbers below `count` sorted by a hash of (seed, epoch, number). (count,)"""
    key = _mix_int(_mix_int(seed & _MASK) + epoch)
    keys = _mix(np.arange(count, dtype=np.uint64) + np.uint64(key))
    return np.argsort(keys, kind="stable")


def seed_key(seed: int) -> bytes:
    """A seed of any size as the key of a hash: its lowest 128 bits, with its sign."""
    return (seed & (1 << 128) - 1).to_bytes(16, "little")


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014) on every value; unsigned overflow is meant."""
    x = x * np.uint64(_GOLDEN)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _mix_int(x: int) -> int:
    return int(_mix(np.array([x & _MASK], dtype=np.uint64))[0])
