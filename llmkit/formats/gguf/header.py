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
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, cast

from llmkit.errors import DataError, MissingError
from llmkit.formats.gguf.magic import MAGIC
from llmkit.formats.gguf.types import GGML_TYPES_BY_NUMBER
from llmkit.formats.gguf.values import (
    ALIGNMENT,
    ARRAY,
    DEFAULT_ALIGNMENT,
    KIND_NAMES,
    SCALAR_CODES,
    STRING,
)

MAX_LISTED = 1024
"""Longest array whose values are kept; of a longer one (a tokenizer's) the length alone, unless asked for."""

_MAX_DIMENSIONS = 4
_MAX_NESTING = 4


@dataclass(frozen=True)
class SkippedArray:
    """An array that was counted and not kept."""

    length: int

    def __repr__(self) -> str:
        return f"a list of {self.length}"


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
    kinds: dict[str, str] = field(default_factory=dict)
    """Types of the metadata: u32, str, …, and of arrays the type of their values: str[]."""
    big_endian: bool = False

    @property
    def nbytes(self) -> int:
        """Of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def alignment(self) -> int:
        """Tensors begin at multiples of it, counted from `data_offset`."""
        return cast(int, self.metadata.get(ALIGNMENT, DEFAULT_ALIGNMENT))


def read_gguf_header(path: Path, *, keep_arrays: bool = False) -> GgufHeader:
    """Read the header of a GGUF file.

    Args:
        path: of the file.
        keep_arrays: keep arrays of every length (tokens, scores, merges), and text without loss: a byte that
            is no UTF-8 becomes a lone surrogate (`surrogateescape`); otherwise it is spelled out as \\xNN.

    Raises:
        MissingError: no such file.
        DataError: it is no GGUF file, damaged, cut short, or of a version or type that is not known here.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Reader(path, content, keep_arrays).header()
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file", hint=f"ls {path.parent}") from None
    except (OSError, ValueError) as error:  # a folder, or an empty file
        raise _damaged(path, f"not a GGUF file ({error})") from None


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(f"{path}: {problem}", hint="fetch the file again")


class _Reader:
    """Walks a header; every length is checked against the file before it is used."""

    def __init__(self, path: Path, content: mmap.mmap, keep_arrays: bool) -> None:
        self.path = path
        self.content = content
        self.longest = len(content) if keep_arrays else MAX_LISTED
        self.strange_bytes = "surrogateescape" if keep_arrays else "backslashreplace"
        self.place = 0
        self.order = "<"

    def header(self) -> GgufHeader:
        version = self.version()
        num_tensors, num_keys = self.scalar("Q"), self.scalar("Q")
        self.check_count(num_tensors, 8 + 4 + 4 + 8, "tensors")
        self.check_count(num_keys, 8 + 4 + 1, "keys")
        metadata: dict[str, Value] = {}
        kinds: dict[str, str] = {}
        for _ in range(num_keys):
            key = self.string()
            if key in metadata:
                self.fail(f"the key {key} is there twice")
            kind = self.scalar("I")
            kinds[key] = self.kind_name(kind)
            metadata[key] = self.value(kind)
        found = [self.tensor() for _ in range(num_tensors)]
        data_offset = self.aligned(metadata)
        tensors = self.placed(found, data_offset)
        return GgufHeader(version, metadata, tensors, data_offset, kinds, self.order == ">")

    def version(self) -> int:
        if self.take(4) != MAGIC:
            self.fail(f"not a GGUF file (begins with {self.content[:4]!r})")
        version = self.scalar("I")
        if version >= 1 << 16:  # in the other byte order
            self.order, self.place = ">", self.place - 4
            version = self.scalar("I")
        if version not in (2, 3):
            self.fail(f"GGUF version {version}, and versions 2 and 3 are known")
        return version

    def kind_name(self, kind: int) -> str:
        """The word for a type, a look ahead for that of an array's values."""
        if kind == ARRAY and self.place + 4 <= len(self.content):
            (inner,) = struct.unpack_from(f"{self.order}I", self.content, self.place)
            return f"{KIND_NAMES.get(inner, inner)}[]"
        return KIND_NAMES.get(kind, str(kind))  # a type that is not known is refused with its value

    def value(self, kind: int, nesting: int = 0) -> Value:
        if kind in SCALAR_CODES:
            return self.scalar(SCALAR_CODES[kind])
        if kind == STRING:
            return self.string()
        if kind != ARRAY or nesting == _MAX_NESTING:
            self.fail(f"a value of unknown type {kind}")
        inner, length = self.scalar("I"), self.scalar("Q")
        smallest = struct.calcsize(SCALAR_CODES[inner]) if inner in SCALAR_CODES else 8
        self.check_count(length, smallest, "values of an array")
        if length > self.longest:
            self.skip(inner, length, smallest, nesting)
            return SkippedArray(length)
        if inner in SCALAR_CODES:
            return list(
                struct.unpack(f"{self.order}{length}{SCALAR_CODES[inner]}", self.take(length * smallest))
            )
        if inner == STRING:
            return self.strings(length)
        return [self.value(inner, nesting + 1) for _ in range(length)]

    def skip(self, kind: int, length: int, size: int, nesting: int) -> None:
        if kind in SCALAR_CODES:
            self.advance(length * size)
        elif kind == STRING:
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

    def strings(self, count: int) -> list[Value]:
        """The same, kept."""
        length_at, content, end = struct.Struct(f"{self.order}Q").unpack_from, self.content, len(self.content)
        place = self.place
        found: list[Value] = []
        for _ in range(count):
            begin = place + 8
            place = begin + (length_at(content, place)[0] if begin <= end else 0)
            if place > end:
                break
            found.append(content[begin:place].decode("utf-8", self.strange_bytes))
        self.advance(place - self.place)  # beyond the end: says so
        return found

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
        alignment = metadata.get(ALIGNMENT, DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            self.fail(f"{ALIGNMENT} is {alignment!r}, and it must be a power of two")
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
        """A text, or a token, which may be part of a character."""
        return self.take(self.scalar("Q")).decode("utf-8", self.strange_bytes)

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
