"""`--by substring`: which runs of words of which documents repeat earlier ones.

mark-00000.windows   a uint64 for each window of neighbouring words, in order
mark-00000.counts    a uint32 for each document: how many windows it has
again.flags          a uint8 for each window of all documents, in order: 1 where an equal window, which does
                     not overlap it, stands earlier in a document that is kept
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.text.bands import key_ranges
from llmkit.text.spans import covered, elements, windows
from llmkit.workflows.dedup.corpus import WORK, map_array
from llmkit.workflows.dedup.files import open_parts, write_array
from llmkit.workflows.dedup.options import DedupConfig
from llmkit.workflows.dedup.read import good_documents
from llmkit.workflows.dedup.sign import SignTask
from llmkit.workflows.units import Output, Unit, output_of

_BYTES_PER_WINDOW = 40
Places = NDArray[np.int64]


class RepeatTask(msgspec.Struct, frozen=True):
    """Compares the windows of all documents."""

    names: tuple[str, ...]
    config: DedupConfig
    memory_bytes: int


def window_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Write the windows of a unit's documents."""
    task = msgspec.convert(unit.task, SignTask)
    stem = f"{folder / WORK / unit.name}"
    paths = [Path(f"{stem}.windows"), Path(f"{stem}.counts")]
    documents = pieces = 0
    with open_parts(paths) as (numbers, counts):
        for document in good_documents(task.pieces, field=task.config.field, skips_bad=task.skips_bad):
            found = windows(elements(document.text, task.config.unit)[0], task.config.span)
            numbers.write(found.data)
            counts.write(len(found).to_bytes(4, "little"))
            documents += 1
            pieces += len(found)
    report = {"documents": documents, "pieces": pieces}
    return [
        output_of(path, folder, rows) for path, rows in zip(paths, (pieces, documents), strict=True)
    ], report


def repeat_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Mark the windows that repeat earlier ones, in order: what dropped documents hold repeats nothing."""
    task = msgspec.convert(unit.task, RepeatTask)
    stems = [f"{folder / WORK / name}" for name in task.names]
    numbers = [map_array(Path(f"{stem}.windows"), np.dtype("<u8")) for stem in stems]
    counts = [map_array(Path(f"{stem}.counts"), np.dtype("<u4")) for stem in stems]
    bounds = np.concatenate([np.zeros(1, np.int64), *counts]).cumsum(dtype=np.int64)
    places, groups = _repeated(numbers, int(bounds[-1]), task.memory_bytes)
    flags = np.zeros(int(bounds[-1]), np.uint8)
    dropped = _mark(flags, places, groups, bounds, task.config)
    output = write_array(folder / WORK / f"{unit.name}.flags", [flags], folder)
    return [output], {"again": int(flags.sum()), "dropped": dropped}


def is_dropped(inside: NDArray[np.bool_], config: DedupConfig) -> bool:
    """Whether a document is dropped as a whole: `inside` is true for its words in repeated spans."""
    return config.drop_above is not None and float(inside.mean()) > config.drop_above


def _repeated(numbers: Sequence[NDArray[np.uint64]], total: int, memory_bytes: int) -> tuple[Places, Places]:
    """The places of windows that occur twice or more, in order; and their numbers, which equal ones share."""
    places: list[Places] = [np.empty(0, np.int64)]
    groups: list[Places] = [np.empty(0, np.int64)]
    known = 0
    for low, high in key_ranges(total, memory_bytes, _BYTES_PER_WINDOW):
        keys, where = _between(numbers, low, high)
        order = np.argsort(keys)
        is_first = np.ones(len(keys) + 1, bool)
        np.not_equal(keys[order[1:]], keys[order[:-1]], out=is_first[1:-1])
        often = ~(is_first[:-1] & is_first[1:])
        places.append(where[order[often]])
        groups.append(np.cumsum(is_first[:-1][often]) + known)
        known += int(is_first[:-1][often].sum())
    everywhere, numbered = np.concatenate(places), np.concatenate(groups)
    order = np.argsort(everywhere)
    return everywhere[order], numbered[order]


def _between(numbers: Sequence[NDArray[np.uint64]], low: int, high: int) -> tuple[NDArray[np.uint64], Places]:
    """The windows whose numbers are within a range, and their places."""
    keys, places = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    base = 0
    for one in numbers:
        inside = np.flatnonzero((one >= np.uint64(low)) & (one <= np.uint64(high)))
        keys.append(one[inside])
        places.append(inside + base)
        base += len(one)
    return np.concatenate(keys), np.concatenate(places)


def _mark(
    flags: NDArray[np.uint8], places: Places, groups: Places, bounds: Places, config: DedupConfig
) -> int:
    """Set the flags. Returns how many documents are dropped as a whole."""
    earliest = np.full(int(groups.max(initial=0)) + 1, -1, np.int64)  # of a group, in a document that is kept
    dropped = 0
    for start, stop, part in _documents(places, bounds):
        own, numbers = places[part], groups[part]
        _, first, same = np.unique(numbers, return_index=True, return_inverse=True)
        before = earliest[numbers]
        before = np.where(before < 0, own[first][same], before)
        flags[own] = (before < start) | (before + config.span <= own)
        if config.drop_above is not None:
            again = flags[start:stop].astype(bool)
            if is_dropped(covered(again, config.span), config):
                dropped += 1
                continue
        earliest[numbers] = before
    return dropped


def _documents(places: Places, bounds: Places) -> Iterator[tuple[int, int, slice]]:
    """Of each document with repeated windows: its first, the one past its last, its slice of `places`."""
    document = np.searchsorted(bounds, places, "right") - 1
    starts = np.flatnonzero(np.diff(document, prepend=-1, append=-1))  # where there are any, their end too
    for begin, end in pairwise(starts.tolist()):
        number = int(document[begin])
        yield int(bounds[number]), int(bounds[number + 1]), slice(begin, end)
