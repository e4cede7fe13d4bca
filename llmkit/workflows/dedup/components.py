"""`--by near`: the similar pairs, given out in whole components of as many as fit the memory.

Which documents of a component are kept depends on that component alone, so components can be judged one after
the other. Memory holds 16 bytes for each document, which tell its component. The pairs stay in their files,
which are read once to connect the documents and once for each part.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from llmkit.text.bands import Pairs, split_pairs
from llmkit.text.clusters import Numbers, connect

BYTES_PER_PAIR = 96
"""Of choosing, at its peak: the pairs, their documents twice, sorted and numbered anew."""
_PAIRS_AT_A_TIME = 1 << 20

Rows = NDArray[np.void]
"""With a field `pair`."""


def component_parts(files: Sequence[Rows], num_documents: int, memory_bytes: int) -> Iterator[Rows]:
    """The rows of whole components, sorted as the files are; every row comes once.

    Args:
        files: sorted, one behind the other.
        num_documents: how many documents there are.
        memory_bytes: for one part; a component that needs more is a part by itself.
    """
    num_pairs = sum(map(len, files))
    if num_pairs * BYTES_PER_PAIR <= memory_bytes:
        yield np.concatenate(files)
        return
    part_of = _parts(files, num_documents, max(1, memory_bytes // BYTES_PER_PAIR))
    for part in range(int(part_of.max()) + 1):
        yield np.concatenate([rows[part_of[_firsts(rows)] == part] for rows in _pieces(files)])


def pairs_of(rows: Rows) -> Pairs:
    """The pairs themselves."""
    return np.ascontiguousarray(rows["pair"])


def _parts(files: Sequence[Rows], num_documents: int, most: int) -> Numbers:
    """The part of each document: components of up to so many pairs in order of their lowest members."""
    component = np.arange(num_documents, dtype=np.uint32)
    for rows in _pieces(files):
        component = connect(num_documents, pairs_of(rows), component)
    counts = np.zeros(num_documents, np.int64)
    for rows in _pieces(files):
        np.add.at(counts, component[_firsts(rows)], 1)
    part = np.zeros(num_documents, np.uint32)
    number = held = 0
    for lowest in np.flatnonzero(counts).tolist():
        if held and held + int(counts[lowest]) > most:
            number, held = number + 1, 0
        held += int(counts[lowest])
        part[lowest] = number
    return part[component]


def _pieces(files: Sequence[Rows]) -> Iterator[Rows]:
    for rows in files:
        for start in range(0, len(rows), _PAIRS_AT_A_TIME):
            yield np.asarray(rows[start : start + _PAIRS_AT_A_TIME])


def _firsts(rows: Rows) -> Numbers:
    return split_pairs(pairs_of(rows))[0]
