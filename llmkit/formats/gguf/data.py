"""The tensors of a GGUF model, of one file or several: their bytes mapped from the disk, read-only, and their
values in pieces, which are read past those pages.

raw: (nbytes,) uint8; pieces: (rows, columns) float32 or float16; a whole tensor: torch's shape
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from llmkit.errors import DataError, at_place, nearest
from llmkit.formats.amount_text import plural
from llmkit.formats.gguf.blocks import dequantise
from llmkit.formats.gguf.header import GgufTensorInfo
from llmkit.formats.gguf.parts import GgufPart, joined_header, read_gguf_parts
from llmkit.formats.gguf.plain import narrowed

PIECE_VALUES = 1 << 22
"""Values of a piece, unless asked otherwise: 16 MiB as float32. A longer row is a piece of its own."""

_MOST_VALUES = 1 << 60
"""Dimensions whose product, zeros apart, is more: 63 bits cannot count the bytes, and no array has them."""


class GgufData:
    """The tensors of one GGUF model. Nothing is read before it is asked for.

    Attributes:
        path: of its file, or of the first of several.
        files: all of them.
        header: of the first, with the tensors of all.
        tensors: by name; where each begins is counted in its own file.
    """

    def __init__(self, path: Path) -> None:
        """Map a file, and those that it is a model with.

        Args:
            path: of the file, or of the first of several.

        Raises:
            MissingError: no such file.
            DataError: it is damaged: a tensor ends after the file, begins off the alignment, lies on another
                or has more values than can be counted; or it is big-endian; or see `read_gguf_parts`.
        """
        parts = read_gguf_parts(path)
        self.path, self.files = path, tuple(part.path for part in parts)
        self.header = joined_header(parts)
        self.tensors = {tensor.name: tensor for tensor in self.header.tensors}
        self._file_of = {tensor.name: part.path for part in parts for tensor in part.header.tensors}
        self._contents = {part.path: _mapped(part) for part in parts}

    def raw(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a tensor as they are in the file, (nbytes,), not writeable and not copied.

        Raises:
            DataError: no such tensor.
        """
        tensor = self.info(name)
        return self._contents[self.file(name)][tensor.offset : tensor.offset + tensor.nbytes]

    def file(self, name: str) -> Path:
        """Which of the files has a tensor.

        Raises:
            DataError: no such tensor.
        """
        return self._file_of[self.info(name).name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Torch's, the row length last.

        Raises:
            DataError: no such tensor.
        """
        return self.info(name).dims[::-1]

    def pieces(
        self, name: str, dtype: DTypeLike = np.float32, *, piece_values: int = PIECE_VALUES
    ) -> Iterator[NDArray[Any]]:
        """The values of a tensor, some rows at a time: (rows, columns), leading dimensions joined.

        Args:
            name: of the tensor.
            dtype: float32 or float16.
            piece_values: values of a piece at most, or one row where it is longer.

        Raises:
            DataError: no such tensor, its type is not read, or a value is beyond the dtype.
        """
        tensor, target = self.info(name), np.dtype(dtype)
        columns = tensor.dims[0] if tensor.dims else 1
        rows = math.prod(tensor.dims[1:]) if columns else 0
        step = max(1, piece_values // max(1, columns))
        with self.file(name).open("rb") as stream:
            stream.seek(tensor.offset)
            for begin in range(0, rows, step):
                count = min(step, rows - begin)
                part = np.fromfile(stream, np.uint8, tensor.nbytes // rows * count)
                with at_place(f"{self.file(name)}: tensor {name}"):
                    values = dequantise(part, tensor.type, (count, columns))
                    yield narrowed(values, target, target.name)

    def values(self, name: str, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """A whole tensor in torch's shape; beside it, memory is that of a piece.

        Raises:
            DataError: as `pieces`.
        """
        shape = self.shape(name)
        result = np.empty(shape, dtype)
        place = result.reshape(-1)
        begin = 0
        for piece in self.pieces(name, dtype):
            place[begin : begin + piece.size] = piece.reshape(-1)
            begin += piece.size
        return result

    def info(self, name: str) -> GgufTensorInfo:
        """What the header says of a tensor.

        Raises:
            DataError: no such tensor.
        """
        if name not in self.tensors:
            close = nearest(name, self.tensors)
            hint = (
                f"did you mean {close}?"
                if close
                else f"it has {plural(len(self.tensors), 'tensor')} of other names"
            )
            raise DataError(f"{self.path}: no tensor {name}", hint=hint)
        return self.tensors[name]


def _mapped(part: GgufPart) -> NDArray[np.uint8]:
    """The bytes of a file whose tensors lie where they can."""
    if part.header.big_endian:
        raise DataError(
            f"{part.path}: tensors of a big-endian file are not read",
            hint=f"gguf-convert-endian {part.path} little",
        )
    content: NDArray[np.uint8] = np.memmap(part.path, np.uint8, mode="r")
    _check(part, content.size)
    return content


def _check(part: GgufPart, nbytes: int) -> None:
    """Places that the header leaves open; from its numbers alone, before anything is read."""
    header, end, previous = part.header, 0, ""
    for tensor in sorted(header.tensors, key=lambda tensor: tensor.offset):
        if math.prod(max(1, size) for size in tensor.dims) >= _MOST_VALUES:
            _fail(part, f"tensor {tensor.name} has the dimensions {tensor.dims}")
        if (tensor.offset - header.data_offset) % header.alignment:
            _fail(
                part,
                f"tensor {tensor.name} begins off the alignment of {header.alignment}: "
                f"at {tensor.offset - header.data_offset} of the data",
            )
        if tensor.offset + tensor.nbytes > nbytes:
            _fail(part, f"cut short: tensor {tensor.name} ends after the file")
        if tensor.nbytes:
            if tensor.offset < end:
                _fail(part, f"tensors {previous} and {tensor.name} lie on each other")
            end, previous = tensor.offset + tensor.nbytes, tensor.name


def _fail(part: GgufPart, problem: str) -> NoReturn:
    raise DataError(f"{part.path}: {problem}", hint="fetch the file again")
