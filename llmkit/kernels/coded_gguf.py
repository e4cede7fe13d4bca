"""GGUF's blocks as codes, scales and bases: the same numbers, none of them computed.

Bits of a weight in memory: Q4_0 and IQ4_NL 4.5, Q4_1 5, Q8_0 and Q5_0 8.5, Q5_1 9, IQ4_XS 4.31, Q4_K 4.63,
Q3_K 4.56, Q2_K 5.13, Q5_K 8.63, Q6_K 8.56, MXFP4 and NVFP4 5 (codes of 5 and 6 bits take 8, those of 2 and 3
take 4).
Shapes: R rows, N blocks.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.gguf.blocks import LAYOUTS
from llmkit.formats.gguf.k_quants import scales_and_minima
from llmkit.formats.gguf.simple import e4m3_halves, five_bits, power_of_two, spread
from llmkit.formats.gguf.types import GGML_TYPES
from llmkit.kernels.coded import Coded, CodedMatrix, Codes, Grouping, Order

Stored = NDArray[Any]
Bytes = NDArray[np.uint8]


def gguf_matrix(raw: Bytes, type_name: str, rows: int, columns: int) -> CodedMatrix:
    """A stored matrix; rows are taken apart when they are read.

    Args:
        raw: its bytes.
        type_name: one of GROUPINGS.
    """
    by_row = raw.reshape(rows, -1)
    grouping, take = _TYPES[type_name]
    layout, count = LAYOUTS[type_name], GGML_TYPES[type_name].values

    def read(wanted: Order) -> Coded:
        blocks = np.ascontiguousarray(by_row[wanted]).reshape(-1).view(layout)
        assert len(blocks) * count == len(wanted) * columns
        return Coded(grouping, *(_in_rows(part, len(wanted)) for part in take(blocks)))

    return CodedMatrix(grouping, rows, columns, read)


def _in_rows(part: NDArray[Any] | None, rows: int) -> Any:
    return None if part is None else np.ascontiguousarray(part.reshape(rows, -1))


def _q4_0(b: Stored) -> tuple[Any, ...]:
    return spread(b["qs"], 4, 16), b["d"]


def _q4_1(b: Stored) -> tuple[Any, ...]:
    return spread(b["qs"], 4, 16), b["d"], b["m"]


def _q5_0(b: Stored) -> tuple[Any, ...]:
    return five_bits(b) + np.uint8(112), b["d"]


def _q5_1(b: Stored) -> tuple[Any, ...]:
    return five_bits(b) + np.uint8(128), b["d"], b["m"]


def _q8_0(b: Stored) -> tuple[Any, ...]:
    return b["qs"].view(np.uint8) ^ np.uint8(128), b["d"]


def _mxfp4(b: Stored) -> tuple[Any, ...]:
    return spread(b["qs"], 4, 16), power_of_two(b["e"])


def _nvfp4(b: Stored) -> tuple[Any, ...]:
    return spread(b["qs"], 4, 8), e4m3_halves(b["d"]).astype(np.float16)


def _iq4_xs(b: Stored) -> tuple[Any, ...]:
    scales = spread(b["scales_l"], 4, 1) | spread(b["scales_h"], 2, 1) << np.uint8(4)
    return spread(b["qs"], 4, 16), _signed(scales, 32), None, b["d"]


def _q2_k(b: Stored) -> tuple[Any, ...]:
    scales, mins = b["scales"] & np.uint8(15), b["scales"] >> np.uint8(4)
    return spread(b["qs"], 2, 32), _signed(scales), _signed(mins), b["d"], -b["dmin"]


def _q3_k(b: Stored) -> tuple[Any, ...]:
    low, high = spread(b["scales"][:, :8], 4, 8), spread(b["scales"][:, 8:], 2, 4)
    codes = spread(b["qs"], 2, 32) | spread(b["hmask"], 1, 32) << np.uint8(2)
    return codes + np.uint8(4), _signed(low | high << np.uint8(4), 32), None, b["d"]


def _q4_k(b: Stored) -> tuple[Any, ...]:
    scales, mins = scales_and_minima(b["scales"])
    return spread(b["qs"], 4, 32), _signed(scales), _signed(mins), b["d"], -b["dmin"]


def _q5_k(b: Stored) -> tuple[Any, ...]:
    scales, mins = scales_and_minima(b["scales"])
    codes = spread(b["qs"], 4, 32) | spread(b["qh"], 1, 32) << np.uint8(4)
    return codes + np.uint8(128), _signed(scales), _signed(mins), b["d"], -b["dmin"]


def _q6_k(b: Stored) -> tuple[Any, ...]:
    codes = spread(b["ql"], 4, 64) | spread(b["qh"], 2, 32) << np.uint8(4)
    return codes + np.uint8(96), b["scales"], None, b["d"]


def _signed(scales: Bytes, middle: int = 0) -> NDArray[np.int8]:
    return scales.astype(np.int8) - np.int8(middle)


_FOURS, _EIGHTS = Codes.FOURS, Codes.EIGHTS
_TYPES: dict[str, tuple[Grouping, Callable[[Stored], tuple[Any, ...]]]] = {
    "Q4_0": (Grouping(_FOURS, 32), _q4_0),
    "Q4_1": (Grouping(_FOURS, 32, based=True), _q4_1),
    "Q5_0": (Grouping(_EIGHTS, 32), _q5_0),
    "Q5_1": (Grouping(_EIGHTS, 32, based=True), _q5_1),
    "Q8_0": (Grouping(_EIGHTS, 32), _q8_0),
    "IQ4_NL": (Grouping(Codes.IQ4, 32), _q4_0),
    "MXFP4": (Grouping(Codes.E2M1, 32, wide=True), _mxfp4),
    "NVFP4": (Grouping(Codes.E2M1, 16), _nvfp4),
    "Q2_K": (Grouping(_FOURS, 16, 256, based=True), _q2_k),
    "Q3_K": (Grouping(_FOURS, 16, 256), _q3_k),
    "Q4_K": (Grouping(_FOURS, 32, 256, based=True), _q4_k),
    "Q5_K": (Grouping(_EIGHTS, 32, 256, based=True), _q5_k),
    "Q6_K": (Grouping(_EIGHTS, 16, 256), _q6_k),
    "IQ4_XS": (Grouping(Codes.IQ4, 32, 256), _iq4_xs),
}
GROUPINGS = {name: grouping for name, (grouping, _) in _TYPES.items()}
"""How each type that the kernels take is kept in memory."""
