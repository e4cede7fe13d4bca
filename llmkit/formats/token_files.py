"""Ids as other trainers keep them, read as documents: nanoGPT's and llm.c's .bin, Megatron's .bin with .idx.

    nanoGPT    uint16 ids, nothing else
    llm.c      256 int32 (magic, version, number of ids, zeros), then uint16 ids, or uint32 ones for Llama 3
    Megatron   NAME.bin: ids of one type; NAME.idx: that type, and where each document lies

All numbers are little-endian. The first two know no documents: an id stands between them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError
from llmkit.formats.token_documents import TokenDocument

SUFFIX, INDEX_SUFFIX = ".bin", ".idx"
PIECE_IDS = 1 << 24
"""Most ids of a document: what no id parts is cut here, so that it fits the memory."""
_LLM_C = {(20240520, 1): "<u2", (20240801, 7): "<u4"}  # magic and version: train_gpt2.c, train_llama3.py
_LLM_C_BYTES = 256 * 4
_MEGATRON = b"MMIDIDX\x00\x00"
_MEGATRON_BYTES = len(_MEGATRON) + 8 + 1 + 8 + 8
_MEGATRON_TYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
Ids = NDArray[Any]


@dataclass(frozen=True)
class TokenFile:
    """A file of ids, opened."""

    path: Path
    ids: Ids
    """Mapped from the disk."""
    bounds: NDArray[np.int64] | None
    """(documents + 1,) where each begins and the last ends; None where only an id between them can tell."""

    def documents(self, end: int | None) -> Iterator[TokenDocument]:
        """Its documents, without the ids between them.

        Args:
            end: that id, where `bounds` are not known; None: the file is one document, in pieces.

        Raises:
            DataError: a negative id, or one of more than 32 bits.
        """
        number = 0
        for begin, stop in self._spans(end):
            for cut in range(begin, stop, PIECE_IDS):
                tokens = np.asarray(self.ids[cut : min(stop, cut + PIECE_IDS)])
                where = f"{self.path}[{number}]"
                if tokens.dtype.kind == "i" and (tokens.min() < 0 or int(tokens.max()) >= 1 << 32):
                    raise DataError(
                        f"{where}: ids outside 0 … 2^32-1 (found {tokens.min()} to {tokens.max()})",
                        hint="this is no text, or it was written with another type",
                    )
                yield TokenDocument(where, tokens.astype(np.uint32), None, where)
                number += 1

    def _spans(self, end: int | None) -> Iterator[tuple[int, int]]:
        """(first, one past the last) of each document that is not empty."""
        if self.bounds is not None:
            for begin, stop in zip(self.bounds[:-1].tolist(), self.bounds[1:].tolist(), strict=True):
                if stop > begin:
                    yield begin, stop
            return
        begin = 0
        for place in self._places(end):
            if place > begin:
                yield begin, place
            begin = place + 1
        if len(self.ids) > begin:
            yield begin, len(self.ids)

    def _places(self, end: int | None) -> Iterator[int]:
        """Where an id stands, some ids in memory at a time."""
        if end is None:
            return
        for offset in range(0, len(self.ids), PIECE_IDS):
            yield from (np.flatnonzero(self.ids[offset : offset + PIECE_IDS] == end) + offset).tolist()


def is_token_file(path: Path) -> bool:
    """Whether a path is named like one."""
    return path.suffix == SUFFIX


def index_of(path: Path) -> Path | None:
    """The .idx beside a .bin; None where there is none."""
    beside = path.with_suffix(INDEX_SUFFIX)
    return beside if is_token_file(path) and beside.is_file() else None


def open_token_file(path: Path) -> TokenFile:
    """A file of ids of one of the three kinds, told apart by what stands in it and beside it.

    Raises:
        DataError: it is cut short, or of a version or type that is not known.
    """
    index = index_of(path)
    if index is not None:
        return _megatron(path, index)
    size = path.stat().st_size
    with path.open("rb") as stream:
        header = np.frombuffer(stream.read(_LLM_C_BYTES)[: size // 4 * 4], "<i4")
    magic, version = (int(header[0]), int(header[1])) if len(header) > 1 else (0, 0)
    if magic in {known for known, _ in _LLM_C}:
        return _llm_c(path, size, header, _LLM_C.get((magic, version)))
    if size % 2:
        raise DataError(
            f"{path}: an odd number of bytes ({size:,}), and ids of nanoGPT take two",
            hint="llm.c's files begin with a header, Megatron's have an .idx beside them",
        )
    return TokenFile(path, _mapped(path, "<u2", 0, size // 2), None)


def _llm_c(path: Path, size: int, header: NDArray[Any], dtype: str | None) -> TokenFile:
    if dtype is None:
        known = ", ".join(f"{version} of {magic}" for magic, version in _LLM_C)
        raise DataError(
            f"{path}: version {header[1]} of {header[0]} is not known",
            hint=f"versions that are read: {known}",
        )
    held = max(0, size - _LLM_C_BYTES) // np.dtype(dtype).itemsize
    told = int(header[2]) if len(header) == 256 else None
    if told != held:
        raise DataError(
            f"{path}: {'a header' if told is None else f'{told:,} ids'} cut short (found {held:,} ids)",
            hint="it was cut short: copy it again",
        )
    return TokenFile(path, _mapped(path, dtype, _LLM_C_BYTES, held), None)


def _megatron(path: Path, index: Path) -> TokenFile:
    content = index.read_bytes()
    if not content.startswith(_MEGATRON) or len(content) < _MEGATRON_BYTES:
        raise DataError(f"{index}: no index of Megatron's", hint=f"it begins with {_MEGATRON!r}")
    at = len(_MEGATRON)
    version, code = int(np.frombuffer(content, "<u8", 1, at)[0]), content[at + 8]
    sequences, documents = np.frombuffer(content, "<u8", 2, at + 9).astype(np.int64).tolist()
    if version != 1 or code not in _MEGATRON_TYPES:
        raise DataError(
            f"{index}: version {version} with type {code} is not known",
            hint=f"version 1 is read, with the types {', '.join(map(str, _MEGATRON_TYPES))}",
        )
    needed = _MEGATRON_BYTES + 12 * sequences + 8 * documents
    modes = content[needed:]
    if len(content) < needed or len(modes) not in (0, sequences) or any(modes):
        raise DataError(
            f"{index}: {len(content):,} bytes, but its counts come to {needed:,}",
            hint="it was cut short, or holds more than text: modes of sequences are not read",
        )
    dtype = np.dtype(_MEGATRON_TYPES[code])
    lengths = np.frombuffer(content, "<i4", sequences, _MEGATRON_BYTES).astype(np.int64)
    pointers = np.frombuffer(content, "<i8", sequences, _MEGATRON_BYTES + 4 * sequences)
    firsts = np.frombuffer(content, "<i8", documents, _MEGATRON_BYTES + 12 * sequences)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    rising = documents > 0 and firsts[0] == 0 and firsts[-1] == sequences and (np.diff(firsts) >= 0).all()
    if not rising or (pointers != ends[:-1] * dtype.itemsize).any():
        raise DataError(
            f"{index}: its documents do not follow each other", hint="merge or preprocess the text again"
        )
    if path.stat().st_size != ends[-1] * dtype.itemsize:
        raise DataError(
            f"{path}: {path.stat().st_size:,} bytes, but {index.name} tells of {ends[-1]:,} ids",
            hint="it was cut short, or the two are not of one pair",
        )
    return TokenFile(path, _mapped(path, dtype.str, 0, int(ends[-1])), ends[firsts])


def _mapped(path: Path, dtype: str, offset: int, count: int) -> Ids:
    if not count:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r", offset=offset, shape=(count,))
