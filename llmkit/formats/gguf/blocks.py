"""Stored numbers of ggml's types to float32, and back for those whose rounding needs no search.

    raw: bytes of whole rows; values: float32 in torch's shape, the row length last

Read: F32 F16 BF16 F64, Q1_0 Q2_0 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0, Q2_K … Q6_K, IQ1_S … IQ4_XS, MXFP4 NVFP4, TQ1_0
TQ2_0: all that llama.cpp runs.
Written: F32 F16 BF16 Q8_0.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError
from llmkit.formats.gguf import iq_quants as ggml_iq
from llmkit.formats.gguf import k_quants as ggml_k
from llmkit.formats.gguf import plain as ggml_plain
from llmkit.formats.gguf import simple as ggml_simple
from llmkit.formats.gguf import ternary as ggml_ternary
from llmkit.formats.gguf.types import GGML_TYPES

Floats = NDArray[np.float32]
Bytes = bytes | bytearray | memoryview | NDArray[np.uint8]

LAYOUTS: dict[str, np.dtype[Any]] = {
    **{"F32": ggml_plain.F32, "F16": ggml_plain.F16, "BF16": ggml_plain.BF16, "F64": ggml_plain.F64},
    **{"Q1_0": ggml_simple.Q1_0, "Q2_0": ggml_simple.Q2_0},
    **{"Q4_0": ggml_simple.Q4_0, "Q4_1": ggml_simple.Q4_1, "Q5_0": ggml_simple.Q5_0},
    **{"Q5_1": ggml_simple.Q5_1, "Q8_0": ggml_simple.Q8_0, "IQ4_NL": ggml_simple.IQ4_NL},
    **{"MXFP4": ggml_simple.MXFP4, "NVFP4": ggml_simple.NVFP4},
    **{"Q2_K": ggml_k.Q2_K, "Q3_K": ggml_k.Q3_K, "Q4_K": ggml_k.Q4_K, "Q5_K": ggml_k.Q5_K},
    **{"Q6_K": ggml_k.Q6_K, "IQ4_XS": ggml_k.IQ4_XS},
    **{"IQ1_S": ggml_iq.IQ1_S, "IQ1_M": ggml_iq.IQ1_M, "IQ2_XXS": ggml_iq.IQ2_XXS},
    **{"IQ2_XS": ggml_iq.IQ2_XS, "IQ2_S": ggml_iq.IQ2_S},
    **{"IQ3_XXS": ggml_iq.IQ3_XXS, "IQ3_S": ggml_iq.IQ3_S},
    **{"TQ1_0": ggml_ternary.TQ1_0, "TQ2_0": ggml_ternary.TQ2_0},
}
"""Of one block, by the type's name: its C struct."""
_READERS: dict[str, Callable[[NDArray[Any]], Floats]] = {
    **dict.fromkeys(("F32", "F16", "F64"), ggml_plain.read_float),
    "BF16": ggml_plain.read_bf16,
    **{"Q1_0": ggml_simple.read_q1_0, "Q2_0": ggml_simple.read_q2_0},
    **{"Q4_0": ggml_simple.read_q4_0, "Q4_1": ggml_simple.read_q4_1, "Q5_0": ggml_simple.read_q5_0},
    **{"Q5_1": ggml_simple.read_q5_1, "Q8_0": ggml_simple.read_q8_0, "IQ4_NL": ggml_simple.read_iq4_nl},
    **{"MXFP4": ggml_simple.read_mxfp4, "NVFP4": ggml_simple.read_nvfp4},
    **{"Q2_K": ggml_k.read_q2_k, "Q3_K": ggml_k.read_q3_k, "Q4_K": ggml_k.read_q4_k},
    **{"Q5_K": ggml_k.read_q5_k, "Q6_K": ggml_k.read_q6_k, "IQ4_XS": ggml_k.read_iq4_xs},
    **{"IQ1_S": ggml_iq.read_iq1_s, "IQ1_M": ggml_iq.read_iq1_m, "IQ2_XXS": ggml_iq.read_iq2_xxs},
    **{"IQ2_XS": ggml_iq.read_iq2_xs, "IQ2_S": ggml_iq.read_iq2_s},
    **{"IQ3_XXS": ggml_iq.read_iq3_xxs, "IQ3_S": ggml_iq.read_iq3_s},
    **{"TQ1_0": ggml_ternary.read_tq1_0, "TQ2_0": ggml_ternary.read_tq2_0},
}
_WRITERS: dict[str, Callable[[Floats], NDArray[Any]]] = {
    **{"F32": ggml_plain.write_f32, "F16": ggml_plain.write_f16, "BF16": ggml_plain.write_bf16},
    "Q8_0": ggml_simple.write_q8_0,
}
_STEP = 1 << 16
"""Values at a time: what is in the making stays in the cache, and memory is that of the result."""


def dequantise(raw: Bytes, type_name: str, shape: Sequence[int]) -> Floats:
    """Stored numbers as float32, equal bit for bit to what ggml's reference gives.

    A scale that is not a number gives values that are not.

    Args:
        raw: the bytes, all of them.
        type_name: ggml's word, such as Q4_K.
        shape: torch's, the row length last.

    Raises:
        DataError: the type is not read here, a row is no whole number of blocks, the bytes are too few or too
            many, or an F64 is beyond float32.
    """
    _check_type(type_name, _READERS, "read")
    stored = raw if isinstance(raw, np.ndarray) else np.frombuffer(raw, np.uint8)
    nbytes = stored_nbytes(type_name, shape)
    if stored.dtype != np.uint8:
        raise ValueError(f"an array of {stored.dtype} where bytes are expected")
    if stored.size != nbytes:
        raise DataError(
            f"{stored.size} bytes where {tuple(shape)} in {type_name} takes {nbytes}",
            hint="fetch the file again",
        )
    blocks = np.ascontiguousarray(stored).reshape(-1).view(LAYOUTS[type_name])
    values = np.empty((len(blocks), GGML_TYPES[type_name].values), np.float32)
    step = max(1, _STEP // GGML_TYPES[type_name].values)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        for begin in range(0, len(blocks), step):
            part = values[begin : begin + step]
            part[...] = _READERS[type_name](blocks[begin : begin + step]).reshape(part.shape)
    return values.reshape(shape)


def quantise(values: NDArray[Any], type_name: str) -> NDArray[np.uint8]:
    """Numbers as ggml's reference stores them, byte for byte.

    Args:
        values: floats in torch's shape, the row length last; rounded to float32 first.
        type_name: F32, F16, BF16 or Q8_0.

    Returns:
        the bytes, in one dimension.

    Raises:
        DataError: the type is not written here, a row is no whole number of blocks, or a value is beyond the
            type's range: nothing becomes infinite.
    """
    _check_type(type_name, _WRITERS, "written")
    kind = GGML_TYPES[type_name]
    stored = np.empty(stored_nbytes(type_name, values.shape), np.uint8)
    blocks = stored.view(LAYOUTS[type_name])
    rows = np.ascontiguousarray(values).reshape(len(blocks), kind.values)
    step = max(1, _STEP // kind.values)
    for begin in range(0, len(blocks), step):
        part = ggml_plain.narrowed(rows[begin : begin + step], np.dtype(np.float32), "float32")
        blocks[begin : begin + step] = _WRITERS[type_name](part).reshape(-1)
    return stored


def stored_nbytes(type_name: str, shape: Sequence[int]) -> int:
    """Bytes that a shape takes in a type.

    Raises:
        DataError: a row is no whole number of blocks.
    """
    columns = shape[-1] if len(shape) else 1
    row = GGML_TYPES[type_name].row_nbytes(columns)
    if row is None:
        raise DataError(
            f"a row of {columns} does not fill blocks of {type_name}",
            hint=f"blocks of {type_name} have {GGML_TYPES[type_name].values} values",
        )
    return row * math.prod(shape[:-1])


def _check_type(type_name: str, known: Mapping[str, object], verb: str) -> None:
    if type_name not in known:
        raise DataError(f"the type {type_name} is not {verb} here", hint=f"{verb} here: {', '.join(known)}")
