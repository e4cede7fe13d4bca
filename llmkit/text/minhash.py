"""MinHash signatures, and how likely locality-sensitive hashing by bands is to find a pair.

Each of b * r permutations of the 32-bit numbers is h(x) = a x mod 2^32 with an odd random a. A text keeps,
for each, the least h of its shingles; two texts of Jaccard similarity s agree in one with probability s, in a
band of r with s^r, and in at least one of b bands with 1 - (1 - s^r)^b.

Source: Broder 1997; Indyk and Motwani 1998; multiply-shift: Dietzfelbinger et al. 1997. A family of this kind
is only two-independent, but its argument is a hash of the shingle, already as good as random.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import UsageError
from llmkit.text.shingles import Hashes, Shingled, mix

ALGORITHM = "llmkit.minhash-u32/1"
"""Names the shingles and the permutations together: signatures of another name cannot be compared."""
HASHES = 112
RECALL = 0.95
"""Share of the pairs at the threshold that are found."""
EMPTY = np.uint32(0xFFFFFFFF)
"""The value of a text without shingles."""


def signatures(shingled: Shingled, num_hashes: int) -> NDArray[np.uint32]:
    """The signatures of some texts: (num_hashes, N), EMPTY in the columns of texts without shingles."""
    num_texts = len(shingled.offsets) - 1
    found = np.full((num_hashes, num_texts), EMPTY, np.uint32)
    some = np.flatnonzero(np.diff(shingled.offsets))
    if not len(some):
        return found
    numbers = (shingled.hashes >> np.uint64(32)).astype(np.uint32)
    starts = shingled.offsets[some]
    permuted = np.empty_like(numbers)
    least = np.empty((num_hashes, len(some)), np.uint32)
    for row, factor in enumerate(multipliers(num_hashes)):
        np.multiply(numbers, factor, out=permuted)
        np.minimum.reduceat(permuted, starts, out=least[row])
    found[:, some] = least
    return found


def band_keys(signature: NDArray[np.uint32], bands: int, rows: int) -> Hashes:
    """One 64-bit number a band and text: (bands, N), from signatures (bands * rows, N)."""
    parts = signature[: bands * rows].reshape(bands, rows, -1)
    keys = np.zeros((bands, parts.shape[2]), np.uint64)
    for row in range(rows):
        keys = mix(keys + parts[:, row] + np.uint64(0x9E3779B97F4A7C15))
    return keys


def found_probability(similarity: float | NDArray[np.float64], bands: int, rows: int) -> NDArray[np.float64]:
    """The probability that a pair of this similarity has a band in common: 1 - (1 - s^r)^b."""
    return 1 - (1 - np.asarray(similarity, np.float64) ** rows) ** bands


def solve_bands(similarity: float, num_hashes: int = HASHES) -> tuple[int, int]:
    """The bands and rows for a threshold: the most rows that still find a pair at it with a chance of RECALL.

    More rows let fewer unlike pairs through, which would be compared for nothing.

    Args:
        similarity: the threshold, above 0 and up to 1.
        num_hashes: the budget: bands * rows is at most this.

    Raises:
        UsageError: no bands and rows within the budget do.
    """
    for rows in range(num_hashes, 0, -1):
        bands = num_hashes // rows
        if found_probability(similarity, bands, rows) >= RECALL:
            return bands, rows
    raise UsageError(
        f"{num_hashes} hashes find too few pairs of similarity {similarity:g} "
        f"({float(found_probability(similarity, num_hashes, 1)):.0%} at best)",
        hint="allow more of them with --hashes, or a higher --similarity",
    )


@cache
def multipliers(num_hashes: int) -> NDArray[np.uint32]:
    """The odd factors of the permutations, always the same; the first of more are those of fewer."""
    numbers = mix(np.arange(1, num_hashes + 1, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03))
    return (numbers >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
