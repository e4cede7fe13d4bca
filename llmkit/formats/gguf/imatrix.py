"""llama.cpp's importance matrices: what llama-imatrix writes and llama-quantize reads. No torch.

    GGUF   general.type = "imatrix", imatrix.datasets, imatrix.chunk_count, imatrix.chunk_size; for each
           matrix NAME.in_sum2, (N, C) sums of x², and NAME.counts, (N, 1) of how many inputs
    .dat   (the older form, little-endian) i32 entries; each: i32 length of its name, the name, i32 calls,
           i32 count, f32 of them: means of x² times the calls. Then, in some files, i32 chunks and a name

Names are those of a model's GGUF file. Shapes: N matrices of a stack, C columns.
Source: ggml-org/llama.cpp tools/imatrix/imatrix.cpp and tools/quantize/quantize.cpp.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError, MissingError
from llmkit.formats.gguf.data import GgufData
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.formats.gguf.write import GgufTensor, write_gguf

_SUMS, _COUNTS = ".in_sum2", ".counts"
_MOST_NAME_BYTES = 1 << 12


@dataclass(frozen=True)
class Importance:
    """Of one matrix, or a stack of them."""

    squares: NDArray[np.float32]
    """(N, C) means of x²; 1 where nothing was seen, as llama-quantize has it."""
    counts: NDArray[np.float32]
    """(N,) inputs seen; of an old file, where that is not known, calls."""


def read_imatrix(path: Path) -> dict[str, Importance]:
    """By name of the matrix.

    Raises:
        MissingError: no such file.
        DataError: it is no importance matrix, or damaged; or a mean is negative or no number.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such file", hint="check the path; llmkit writes one: --save-imatrix")
    found = _read_gguf(path) if is_gguf(path) else _read_dat(path)
    for name, one in found.items():
        if not (np.isfinite(one.squares).all() and (one.squares >= 0).all()):
            raise _damaged(path, f"{name} has a mean square that is negative or no number")
    return found


def write_imatrix(
    stream: BinaryIO, entries: Mapping[str, Importance], *, datasets: list[str], chunks: int, chunk_size: int
) -> None:
    """Write the GGUF form.

    Args:
        stream: where it goes.
        entries: by name of the matrix.
        datasets: names of the text.
        chunks: rows of text.
        chunk_size: tokens of one.
    """
    metadata: dict[str, MetadataValue] = {
        "general.type": "imatrix",
        "imatrix.datasets": list(datasets),
        "imatrix.chunk_count": Typed("u32", chunks),
        "imatrix.chunk_size": Typed("u32", chunk_size),
    }
    tensors: list[GgufTensor] = []
    for name, one in sorted(entries.items()):
        counts = one.counts.astype(np.float32)[:, None]
        for suffix, array in ((_SUMS, (one.squares * counts).astype(np.float32)), (_COUNTS, counts)):
            tensors.append(GgufTensor(name + suffix, array.shape, "F32", array.tobytes))
    write_gguf(stream, metadata, tensors)


def _read_gguf(path: Path) -> dict[str, Importance]:
    data = GgufData(path)
    found: dict[str, Importance] = {}
    for whole in data.tensors:
        if not whole.endswith(_SUMS):
            continue
        name = whole.removesuffix(_SUMS)
        if name + _COUNTS not in data.tensors:
            raise _damaged(path, f"{name} has no counts")
        sums, counts = _float32(path, data, whole), _float32(path, data, name + _COUNTS).reshape(-1)
        if not counts.size or sums.size % counts.size:
            raise _damaged(path, f"{name} has {sums.size} sums and {counts.size} counts")
        by_matrix = sums.reshape(len(counts), -1)
        seen = counts[:, None] > 0
        squares = np.where(seen, by_matrix / np.where(seen, counts[:, None], 1), 1).astype(np.float32)
        found[name] = Importance(squares, counts)
    if not found:
        raise DataError(
            f"{path}: a GGUF file, but no importance matrix",
            hint="llama-imatrix writes one, and llmkit quantize --save-imatrix",
        )
    return found


def _float32(path: Path, data: GgufData, name: str) -> NDArray[np.float32]:
    if data.info(name).type != "F32":
        raise _damaged(path, f"{name} is {data.info(name).type}, not F32")
    return np.frombuffer(data.raw(name).tobytes(), "<f4").reshape(data.shape(name))


def _read_dat(path: Path) -> dict[str, Importance]:
    content = path.read_bytes()
    place = 0

    def taken(count: int) -> bytes:
        nonlocal place
        if not 0 <= count <= len(content) - place:
            raise _damaged(path, "it is no importance matrix, or cut short")
        place += count
        return content[place - count : place]

    def number() -> int:
        return int(struct.unpack("<i", taken(4))[0])

    found: dict[str, Importance] = {}
    for _ in range(number()):
        length = number()
        try:
            name = taken(length if length <= _MOST_NAME_BYTES else -1).decode()
        except UnicodeDecodeError:
            raise _damaged(path, "it is no importance matrix") from None
        calls, count = number(), number()
        values = np.frombuffer(taken(4 * max(count, 0)), "<f4")
        squares = (values / max(calls, 1)).astype(np.float32)[None]
        found[name] = Importance(squares, np.array([calls], np.float32))
    if not found:
        raise _damaged(path, "it has no entries")
    return found


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"{path}: {what}", hint="make it again: llama-imatrix, or llmkit quantize --save-imatrix"
    )
