"""`--by paragraph` and `--by line`: which pieces of which documents repeat an earlier one.

mark-00000.digests   a DIGEST for each piece that can be a duplicate
mark-00000.counts    a uint32 for each document: how many such pieces it has
again.flags          a uint8 for each piece of all documents, in order: 1 where it repeats an earlier one
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.text.bands import key_ranges
from llmkit.text.exact import DIGEST, first_of_groups
from llmkit.text.exact_pieces import PieceKind, split_pieces
from llmkit.workflows.dedup.corpus import BLOCK, WORK, map_array
from llmkit.workflows.dedup.files import open_parts, write_array
from llmkit.workflows.dedup.options import DedupConfig
from llmkit.workflows.dedup.read import good_documents
from llmkit.workflows.dedup.sign import SignTask
from llmkit.workflows.units import Output, Unit, output_of

_BYTES_PER_PIECE = 64


class AgainTask(msgspec.Struct, frozen=True):
    """Compares the pieces of all documents."""

    names: tuple[str, ...]
    memory_bytes: int


def mark_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Write the digests of the pieces of a unit's documents."""
    task = msgspec.convert(unit.task, SignTask)
    stem = f"{folder / WORK / unit.name}"
    paths = [Path(f"{stem}.digests"), Path(f"{stem}.counts")]
    documents = pieces = 0
    waiting: list[tuple[int, int]] = []
    with open_parts(paths) as (digests, counts):
        for document in good_documents(task.pieces, field=task.config.field, skips_bad=task.skips_bad):
            found = split_pieces(document.text, piece_kind(task.config), min_words=task.config.min_words)
            waiting += [piece.digest for piece in found]
            counts.write(len(found).to_bytes(4, "little"))
            documents += 1
            pieces += len(found)
            if len(waiting) >= BLOCK:
                digests.write(np.array(waiting, DIGEST).data)
                waiting = []
        digests.write(np.array(waiting, DIGEST).data)
    report = {"documents": documents, "pieces": pieces}
    return [
        output_of(path, folder, rows) for path, rows in zip(paths, (pieces, documents), strict=True)
    ], report


def again_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Mark each piece that is equal to an earlier one."""
    task = msgspec.convert(unit.task, AgainTask)
    digests = [map_array(folder / WORK / f"{name}.digests", DIGEST) for name in task.names]
    bases = np.concatenate(([0], np.cumsum([len(one) for one in digests]))).astype(np.int64)
    flags = np.zeros(int(bases[-1]), np.uint8)
    for low, high in key_ranges(len(flags), task.memory_bytes, _BYTES_PER_PIECE):
        keys, lows, places = [], [], []
        for base, one in zip(bases.tolist(), digests, strict=False):
            numbers = np.asarray(one["high"])
            inside = np.flatnonzero((numbers >= np.uint64(low)) & (numbers <= np.uint64(high)))
            keys.append(numbers[inside])
            lows.append(one["low"][inside])
            places.append(inside + base)
        if places:
            everywhere = np.concatenate(places)
            first = first_of_groups(np.concatenate(keys), np.concatenate(lows), everywhere)
            flags[everywhere[first != np.arange(len(first))]] = 1
    output = write_array(folder / WORK / f"{unit.name}.flags", [flags], folder)
    return [output], {"again": int(flags.sum())}


def flags_of(folder: Path, start: int, stop: int) -> NDArray[np.uint8]:
    """The marks of the pieces of one unit."""
    return np.asarray(map_array(folder / WORK / "again.flags", np.dtype("u1"))[start:stop])


def piece_kind(config: DedupConfig) -> PieceKind:
    """What texts are cut into."""
    return "line" if config.by == "line" else "paragraph"
