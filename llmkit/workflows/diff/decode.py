"""The values of a stored tensor as numbers, a block at a time: every dtype of safetensors but the 6-bit ones.

A *code* is the bits of one value as an unsigned integer; 4-bit values, two to a byte, have one code each.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError
from llmkit.formats.model_folder import TensorInfo
from llmkit.workflows.diff.numbers import MADE

BLOCK_VALUES = 1 << 17
"""Values at a time: as float64 they fit a core's own cache."""
Codes = NDArray[Any]
Numbers = NDArray[Any]

_UNSIGNED = {1: "u1", 2: "<u2", 4: "<u4", 8: "<u8"}
_PLAIN = {
    **{"BOOL": "u1", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4"},
    **{"U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8"},
}
_WHOLE_64 = ("I64", "U64")


def _small_float(exponent_bits: int, mantissa_bits: int, *, bias: int) -> NDArray[np.float64]:
    """Value of each code of a signed float, subnormals included, without infinities and NaN."""
    codes = np.arange(1 << (1 + exponent_bits + mantissa_bits))
    mantissa = codes & ((1 << mantissa_bits) - 1)
    exponent = codes >> mantissa_bits & ((1 << exponent_bits) - 1)
    normal = np.ldexp(1 + mantissa / (1 << mantissa_bits), exponent - bias)
    tiny = np.ldexp(mantissa / (1 << mantissa_bits), 1 - bias)
    sign = np.where(codes >> (exponent_bits + mantissa_bits), -1.0, 1.0)
    return np.asarray(sign * np.where(exponent, normal, tiny), np.float64)


def _tables() -> dict[str, NDArray[np.float64]]:
    """The value of each code. Source: OCP Microscaling Formats v1.0 (E8M0, E2M1), arXiv:2209.05433 (FP8)."""
    e4m3 = _small_float(4, 3, bias=7)
    e4m3[[0x7F, 0xFF]] = np.nan
    e5m2 = _small_float(5, 2, bias=15)
    e5m2[[0x7C, 0xFC]] = np.inf, -np.inf
    e5m2[[0x7D, 0x7E, 0x7F, 0xFD, 0xFE, 0xFF]] = np.nan
    e8m0 = np.ldexp(1.0, np.arange(256) - 127)
    e8m0[255] = np.nan
    return {"F8_E4M3": e4m3, "F8_E5M2": e5m2, "F8_E8M0": e8m0, "F4": _small_float(2, 1, bias=1)}


TABLES = _tables()


def can_decode(dtype: str) -> bool:
    """Whether values of this dtype can be compared as numbers; if not, only as bytes."""
    return dtype in _PLAIN or dtype in TABLES or dtype == "BF16"


def read_bytes(tensor: TensorInfo) -> Iterator[bytes]:
    """The bytes of a tensor in blocks.

    Raises:
        DataError: the file ends before the tensor does.
    """
    left = tensor.nbytes
    with tensor.file.open("rb", buffering=0) as stream:
        stream.seek(tensor.offset)
        while left:
            block = stream.read(min(left, 8 * BLOCK_VALUES))
            if not block:
                raise DataError(f"{tensor.file}: ends within {tensor.name}", hint="fetch the file again")
            left -= len(block)
            yield block


def read_codes(tensor: TensorInfo) -> Iterator[Codes]:
    """The codes of a tensor, BLOCK_VALUES at a time.

    Raises:
        DataError: the file ends before the tensor does.
    """
    if isinstance(tensor, MADE):
        whole = tensor.read().reshape(-1).view("<u4")
        yield from (whole[start : start + BLOCK_VALUES] for start in range(0, whole.size, BLOCK_VALUES))
        return
    packed = 2 if tensor.dtype == "F4" else 1
    width = packed * tensor.nbytes // max(1, tensor.numel)
    with tensor.file.open("rb") as stream:
        stream.seek(tensor.offset)
        for start in range(0, tensor.numel, BLOCK_VALUES):
            count = min(BLOCK_VALUES, tensor.numel - start) // packed
            codes = np.fromfile(stream, _UNSIGNED[width], count)
            if len(codes) != count:
                raise DataError(f"{tensor.file}: ends within {tensor.name}", hint="fetch the file again")
            yield codes if packed == 1 else np.stack([codes & 15, codes >> 4], axis=1).reshape(-1)


def decode(codes: Codes, dtype: str) -> Numbers:
    """Codes as float64 (complex128 for C64, as they are for 64-bit integers)."""
    if dtype in TABLES:
        return TABLES[dtype][codes]
    stored = (codes.astype("<u4") << 16).view("<f4") if dtype == "BF16" else codes.view(_PLAIN[dtype])
    if dtype in _WHOLE_64:
        return stored
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return stored.astype(np.complex128 if dtype == "C64" else np.float64)


def distance(a: Numbers, b: Numbers) -> NDArray[np.float64]:
    """|a - b|, exact for 64-bit integers of one kind before it becomes a float64."""
    if a.dtype == b.dtype and a.dtype.kind in "iu":
        high, low = np.maximum(a, b).view("<u8"), np.minimum(a, b).view("<u8")
        return (high - low).astype(np.float64)
    return np.abs(np.subtract(a, b, dtype=np.result_type(a, b, np.float64)))
