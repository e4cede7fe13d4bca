"""AWQ's gemm layout (AutoAWQ, vLLM): 4-bit codes, eight outputs to an int32 in an order of their own.

    M.qweight  int32 (C, R / 8): nibble k of word c is output 8 c + ORDER[k]
    M.qzeros   int32 (G, R / 8), in the same order: the codes that stand for 0
    M.scales   float16 (G, R)

Shapes: R rows (outputs), C columns (inputs), G groups of a row. Source: AutoAWQ 0.2, transformers 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import ConfigError
from llmkit.formats.quantised.matrix_layout import Array, Floats, Part, Scales, affine
from llmkit.formats.quantised.packed_ints import Codes, Words, pack_rows, unpack_rows

ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
CODES, ZEROS, SCALE = ".qweight", ".qzeros", ".scales"
_BITS = 4


@dataclass(frozen=True)
class Awq:
    """The layout at some length of group."""

    group: int = 0
    """Columns that share a scale; 0: the whole row."""

    suffixes: ClassVar[tuple[str, ...]] = (CODES, ZEROS, SCALE)
    telling: ClassVar[tuple[str, ...]] = ()
    codes_name: ClassVar[str] = "int4"
    scales: ClassVar[Scales] = Scales(SCALE, turned=True)

    def shape(
        self, parts: Mapping[str, tuple[int, ...]], told: Mapping[str, Array]
    ) -> tuple[int, int] | None:
        """See `MatrixLayout`."""
        columns, words = parts[CODES]
        groups = columns // (self.group or columns)
        fits = parts[SCALE] == (groups, 8 * words) and parts[ZEROS] == (groups, words)
        return (8 * words, columns) if fits else None

    def read(self, parts: Mapping[str, Array], rows: int, columns: int) -> Floats:
        """See `MatrixLayout`."""
        codes = unpack(parts[CODES], rows).T
        return affine(np.ascontiguousarray(codes), parts[SCALE].T, unpack(parts[ZEROS], rows).T)

    def parts(self, rows: int, columns: int, scale_dtype: str) -> list[Part]:
        """See `WrittenLayout`."""
        group = self.group or columns
        if rows % 8 or columns % group:
            raise ConfigError(
                f"AWQ cannot hold groups of {group} of {columns} inputs, {rows} outputs",
                hint="it wants whole groups, and outputs that are a multiple of 8",
            )
        groups = columns // group
        return [
            Part(CODES, "I32", (columns, rows // 8)),
            Part(ZEROS, "I32", (groups, rows // 8)),
            Part(SCALE, scale_dtype, (groups, rows)),
        ]

    def write(self, codes: Codes, zeros: NDArray[np.int16] | None) -> dict[str, Array]:
        """See `WrittenLayout`."""
        rows, columns = codes.shape
        if zeros is None:
            zeros = np.full((rows, columns // (self.group or columns)), 1 << (_BITS - 1), np.int16)
        return {CODES: _pack(codes.T), ZEROS: _pack(zeros.T.astype(np.uint8))}


def _pack(numbers: Codes) -> NDArray[np.int32]:
    """(n, R) numbers to (n, R / 8) words."""
    count, rows = numbers.shape
    ordered = numbers.reshape(count, rows // 8, 8)[..., list(ORDER)].reshape(count, rows)
    return pack_rows(ordered, _BITS).view(np.int32)


def unpack(words: Words, rows: int) -> Codes:
    """(n, R / 8) words, as codes and zero points are kept, to (n, R) numbers."""
    ordered = unpack_rows(words, _BITS, rows).reshape(len(words), rows // 8, 8)
    numbers = np.empty_like(ordered)
    numbers[..., list(ORDER)] = ordered
    return numbers.reshape(len(words), rows)
