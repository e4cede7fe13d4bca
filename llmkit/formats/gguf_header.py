"""The header of a GGUF file: what it says of its model, and where each tensor is. Tensors are not read.

    "GGUF", version, number of tensors, number of keys
    keys: name, type, value
    tensors: name, dimensions (the row length first), type, offset from the data
    padding to the alignment, then the data

Versions 2 and 3, little-endian or big-endian. Source: ggml's docs/gguf.md.
"""

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from llmkit.errors import DataError, MissingError
from llmkit.formats.gguf_types import GGML_TYPES_BY_NUMBER

MAX_LISTED = 1024
"""Longest array whose values are kept; of a longer one (a tokenizer's) the length alone."""

_MAGIC = b"GGUF"
_ALIGNMENT = "general.alignment"
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4
_MAX_NESTING = 4


@dataclass(frozen=True)
class SkippedArray:
    """An array that was counted and not kept."""

    length: int


Value = bool | int | float | str | list["Value"] | SkippedArray


@dataclass(frozen=True)
class GgufTensorInfo:
    """One tensor as the header describes it."""

    name: str
    dims: tuple[int, ...]
    """Row length first: torch's shape, reversed."""
    type: str
    """ggml's word: F32, Q4_K, …"""
    nbytes: int
    offset: int
    """Where its bytes begin in the file."""

    @property
    def numel(self) -> int:
        """Number of values."""
        return math.prod(self.dims)


@dataclass(frozen=True)
class GgufHeader:
    """The header of one GGUF file."""

    version: int
    metadata: dict[str, Value]
    tensors: tuple[GgufTensorInfo, ...]
    data_offset: int
    """Where tensors begin: the bytes of the header."""

    @property
    def nbytes(self) -> int:
        """Of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors)


def read_gguf_header(path: Path) -> GgufHeader:
    """Read the header of a GGUF file.

    Raises:
        MissingError: no such file.
        DataError: it is no GGUF file, damaged, cut short, or of a version or type that is not known here.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Reader(path, content).header()
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file", hint=f"ls {path.parent}") from None
    except (OSError, ValueError) as error:  # a folder, or an empty file
        raise _damaged(path, f"not a GGUF file ({error})") from None


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(f"{path}: {problem}", hint="fetch the file again")


class _Reader:
    """Walks a header; every length is checked against the file before it is used."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self.path = path
        self.content = content
        self.place = 0
        self.order = "<"

    def header(self) -> GgufHeader:
        version = self.version()
        num_tensors, num_keys = self.scalar("Q"), self.scalar("Q")
        self.check_count(num_tensors, 8 + 4 + 4 + 8, "tensors")
        self.check_count(num_keys, 8 + 4 + 1, "keys")
        metadata: dict[str, Value] = {}
        for _ in range(num_keys):
            key = self.string()
            if key in metadata:
                self.fail(f"the key {key} is there twice")
            metadata[key] = self.value(self.scalar("I"))
        found = [self.tensor() for _ in range(num_tensors)]
        data_offset = self.aligned(metadata)
        return GgufHeader(version, metadata, self.placed(found, data_offset), data_offset)

    def version(self) -> int:
        if self.take(4) != _MAGIC:
            self.fail(f"not a GGUF file (begins with {self.content[:4]!r})")
        version = self.scalar("I")
        if version >= 1 << 16:  # in the other byte order
            self.order, self.place = ">", self.place - 4
            version = self.scalar("I")
        if version not in (2, 3):
            self.fail(f"GGUF version {version}, and versions 2 and 3 are known")
        return version

    def value(self, kind: int, nesting: int = 0) -> Value:
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY or nesting == _MAX_NESTING:
            self.fail(f"a value of unknown type {kind}")
        inner, length = self.scalar("I"), self.scalar("Q")
        smallest = struct.calcsize(_SCALARS[inner]) if inner in _SCALARS else 8
        self.check_count(length, smallest, "values of an array")
        if length <= MAX_LISTED:
            return [self.value(inner, nesting + 1) for _ in range(length)]
        self.skip(inner, length, smallest, nesting)
        return SkippedArray(length)

    def skip(self, kind: int, length: int, size: int, nesting: int) -> None:
        if kind in _SCALARS:
            self.advance(length * size)
        elif kind == _STRING:
            self.skip_strings(length)
        else:
            for _ in range(length):
                self.value(kind, nesting + 1)

    def skip_strings(self, count: int) -> None:
        """A vocabulary: hundreds of thousands, so in a loop without calls."""
        length_at, place, end = struct.Struct(f"{self.order}Q").unpack_from, self.place, len(self.content) - 8
        for _ in range(count):
            if place > end:
                break
            place += 8 + length_at(self.content, place)[0]
        else:
            self.advance(place - self.place)
            return
        self.advance(place + 8 - self.place)  # beyond the end: says so

    def tensor(self) -> GgufTensorInfo:
        """One entry; its offset still counted from the data."""
        name, num_dims = self.string(), self.scalar("I")
        if num_dims > _MAX_DIMENSIONS:
            self.fail(f"tensor {name} has {num_dims} dimensions, and {_MAX_DIMENSIONS} are the most")
        dims = tuple(self.scalar("Q") for _ in range(num_dims))
        kind, offset = self.scalar("I"), self.scalar("Q")
        if kind not in GGML_TYPES_BY_NUMBER:
            self.fail(f"tensor {name} has type {kind}, which is not known here")
        ggml_type = GGML_TYPES_BY_NUMBER[kind]
        columns = dims[0] if dims else 1
        row = ggml_type.row_nbytes(columns)
        if row is None:
            self.fail(f"tensor {name}: a row of {columns} does not fill blocks of {ggml_type.name}")
        return GgufTensorInfo(name, dims, ggml_type.name, row * math.prod(dims[1:]), offset)

    def aligned(self, metadata: dict[str, Value]) -> int:
        alignment = metadata.get(_ALIGNMENT, 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            self.fail(f"{_ALIGNMENT} is {alignment!r}, and it must be a power of two")
        return -(-self.place // alignment) * alignment

    def placed(self, found: list[GgufTensorInfo], data_offset: int) -> tuple[GgufTensorInfo, ...]:
        """Tensors with their places in the file, all of which must be there."""
        names = [tensor.name for tensor in found]
        if len(set(names)) < len(names):
            self.fail("two tensors have the same name")
        tensors = []
        for tensor in found:
            begin = data_offset + tensor.offset
            if begin + tensor.nbytes > len(self.content):
                self.fail(f"cut short: tensor {tensor.name} ends after the file")
            tensors.append(GgufTensorInfo(tensor.name, tensor.dims, tensor.type, tensor.nbytes, begin))
        return tuple(tensors)

    def string(self) -> str:
        content = self.take(self.scalar("Q"))
        try:
            return content.decode()
        except UnicodeDecodeError:
            return content.decode("utf-8", "backslashreplace")  # a token may be part of a character

    def scalar(self, code: str) -> int:
        (value,) = struct.unpack(f"{self.order}{code}", self.take(struct.calcsize(f"={code}")))
        return value

    def take(self, length: int) -> bytes:
        begin = self.advance(length)
        return self.content[begin : begin + length]

    def advance(self, length: int) -> int:
        """Go past some bytes; returns where they begin."""
        begin, end = self.place, self.place + length
        if end > len(self.content):
            self.fail(f"cut short: the header goes on after the file's {len(self.content)} bytes")
        self.place = end
        return begin

    def check_count(self, count: int, smallest: int, what: str) -> None:
        """A count that the rest of the file could hold; before a loop trusts it."""
        if count * smallest > len(self.content) - self.place:
            self.fail(f"cut short, or damaged: {count} {what} do not fit into the file")

    def fail(self, problem: str) -> NoReturn:
        raise _damaged(self.path, problem)
