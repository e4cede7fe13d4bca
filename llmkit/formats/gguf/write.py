"""A GGUF file, version 3, little-endian, written in one pass: the header, then one tensor at a time.

    "GGUF", 3, number of tensors, number of keys
    keys: name, type, value                                in the order given
    tensors: name, dimensions (the row length first), type, offset from the data
    padding to the alignment, then tensors in the order given, each padded

A tensor's bytes are asked for when their turn comes, so memory is bounded by one tensor, or by one piece
where the tensor comes in pieces. The same input gives the same bytes. Source: ggml's docs/gguf.md.
"""

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError, nearest
from llmkit.formats.gguf.magic import MAGIC
from llmkit.formats.gguf.types import GGML_TYPES, GgmlType
from llmkit.formats.gguf.values import (
    ALIGNMENT,
    DEFAULT_ALIGNMENT,
    MetadataValue,
    Typed,
    encode_pair,
    encode_text,
)

Buffer = bytes | bytearray | memoryview | NDArray[Any]

_VERSION = 3
_MAX_DIMENSIONS = 4
_MAX_NAME_BYTES = 63
"""ggml keeps names in 64 bytes, the last of them zero, and refuses a file with a longer one."""
_ARRAY_TYPES = {
    **{"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"},
    **{"I8": "|i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"},
}
"""What an array may hold for a type, beside bytes."""


@dataclass(frozen=True)
class GgufTensor:
    """A tensor to write."""

    name: str
    shape: tuple[int, ...]
    """As torch has it: the row length last."""
    type: str
    """ggml's word: F32, Q8_0, …"""
    data: Callable[[], Buffer | Iterable[Buffer]]
    """Called once, when the tensor is written: its bytes, or an array, or pieces of either in order."""

    @property
    def nbytes(self) -> int:
        """Without padding.

        Raises:
            DataError: the type is not known, or a row is no whole number of its blocks.
        """
        columns = self.shape[-1] if self.shape else 1
        row = self.ggml_type.row_nbytes(columns)
        if row is None:
            raise DataError(
                f"tensor {self.name}: a row of {columns} does not fill blocks of {self.type}",
                hint=f"its rows take a type whose blocks divide {columns}, such as F16 or F32",
            )
        return row * math.prod(self.shape[:-1])

    @property
    def ggml_type(self) -> GgmlType:
        """The type by its name.

        Raises:
            DataError: it is not known.
        """
        if self.type not in GGML_TYPES:
            close = nearest(self.type, GGML_TYPES)
            raise DataError(
                f"tensor {self.name}: no ggml type {self.type!r}",
                hint=f"did you mean {close}?" if close else f"one of {', '.join(GGML_TYPES)}",
            )
        return GGML_TYPES[self.type]


def gguf_nbytes(metadata: Mapping[str, MetadataValue], tensors: Sequence[GgufTensor]) -> int:
    """Bytes of the file that `write_gguf` would write; no tensor is asked for its data.

    Raises:
        DataError: as `write_gguf`.
    """
    header, alignment = _header(metadata, tensors)
    return len(header) + sum(_padded(tensor.nbytes, alignment) for tensor in tensors)


def write_gguf(stream: BinaryIO, metadata: Mapping[str, MetadataValue], tensors: Sequence[GgufTensor]) -> int:
    """Write a GGUF file.

    Args:
        stream: where it goes; only written to, never sought.
        metadata: keys and values; a number with its type, as `Typed`. `general.alignment` is obeyed.
        tensors: in the order of the file.

    Returns:
        bytes written.

    Raises:
        DataError: a key, value, name or shape that a file cannot have; raised before anything is written.
        ValueError: a tensor's data is not of the size or type that it was announced with.
    """
    header, alignment = _header(metadata, tensors)
    stream.write(header)
    written = len(header)
    for tensor in tensors:
        size = 0
        for piece in _pieces(tensor):
            size += piece.nbytes
            if size > tensor.nbytes:
                break  # refused below
            stream.write(piece)
        if size != tensor.nbytes:
            more = "or more " if size > tensor.nbytes else ""
            raise ValueError(f"tensor {tensor.name} gave {size} bytes {more}of {tensor.nbytes}")
        stream.write(b"\0" * (_padded(size, alignment) - size))
        written += _padded(size, alignment)
    return written


def _header(metadata: Mapping[str, MetadataValue], tensors: Sequence[GgufTensor]) -> tuple[bytes, int]:
    """Everything before the data, padded; and the alignment."""
    alignment = _alignment(metadata.get(ALIGNMENT))
    _check(tensors)
    parts = [MAGIC, struct.pack("<IQQ", _VERSION, len(tensors), len(metadata))]
    parts += [encode_pair(key, value) for key, value in metadata.items()]
    offset = 0
    for tensor in tensors:
        dims = tensor.shape[::-1]
        parts.append(encode_text(tensor.name))
        parts.append(struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, tensor.ggml_type.number, offset))
        offset += _padded(tensor.nbytes, alignment)
    header = b"".join(parts)
    return header.ljust(_padded(len(header), alignment), b"\0"), alignment


def _alignment(value: MetadataValue | None) -> int:
    if value is None:
        return DEFAULT_ALIGNMENT
    number = value.value if isinstance(value, Typed) and value.kind == "u32" else None
    if not isinstance(number, int) or number < 8 or number & (number - 1):  # a multiple of 8, says gguf.md
        raise DataError(
            f"{ALIGNMENT} is {value!r}",
            hint='a power of two from 8 up, as Typed("u32", 32), or leave it out',
        )
    return number


def _check(tensors: Sequence[GgufTensor]) -> None:
    names = set()
    for tensor in tensors:
        if tensor.name in names:
            raise DataError(f"two tensors are named {tensor.name}", hint="give each a name of its own")
        names.add(tensor.name)
        length = len(encode_text(tensor.name)) - 8
        if not 0 < length <= _MAX_NAME_BYTES:
            raise DataError(
                f"tensor {tensor.name!r} has a name of {length} bytes",
                hint=f"llama.cpp reads names of 1 to {_MAX_NAME_BYTES} bytes",
            )
        if len(tensor.shape) > _MAX_DIMENSIONS:
            raise DataError(
                f"tensor {tensor.name} has {len(tensor.shape)} dimensions",
                hint=f"GGUF has at most {_MAX_DIMENSIONS}: join some of them",
            )
        if min(tensor.shape, default=1) < 0:
            raise ValueError(f"tensor {tensor.name} has the shape {tensor.shape}")


def _pieces(tensor: GgufTensor) -> Iterator[memoryview]:
    data = tensor.data()
    for piece in [data] if isinstance(data, bytes | bytearray | memoryview | np.ndarray) else data:
        if not isinstance(piece, np.ndarray):
            yield memoryview(piece)
            continue
        if piece.dtype not in (np.dtype(np.uint8), np.dtype(_ARRAY_TYPES.get(tensor.type, np.uint8))):
            raise ValueError(f"tensor {tensor.name} is {tensor.type} and gave an array of {piece.dtype}")
        yield np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data


def _padded(nbytes: int, alignment: int) -> int:
    return -(-nbytes // alignment) * alignment
