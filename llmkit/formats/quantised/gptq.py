"""GPTQ's layout (AutoGPTQ, GPTQModel, vLLM): codes in int32 words along the inputs, the whole matrix turned.

    M.qweight  int32 (C b / 32, R), dense down the columns
    M.qzeros   int32 (G, R b / 32), the codes that stand for 0; v1 keeps each less one
    M.scales   float16 (G, R)
    M.g_idx    int32 (C,), the group of each input

Shapes: R rows (outputs), C columns (inputs), G groups of a row, b bits. Source: GPTQModel 7.7.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import ConfigError
from llmkit.formats.quantised.matrix_layout import Array, Floats, Part, Scales, affine
from llmkit.formats.quantised.packed_ints import Codes, pack_rows, unpack_rows

CODES, ZEROS, SCALE, ORDER = ".qweight", ".qzeros", ".scales", ".g_idx"
BITS = (2, 3, 4, 8)


@dataclass(frozen=True)
class Gptq:
    """The layout at some bits and length of group."""

    bits: int
    group: int = 0
    """Columns that share a scale; 0: the whole row. The last group may be shorter."""
    less_one: bool = True
    """Whether zero points are kept less one: v1."""

    suffixes: ClassVar[tuple[str, ...]] = (CODES, ZEROS, SCALE, ORDER)
    telling: ClassVar[tuple[str, ...]] = ()
    scales: ClassVar[Scales] = Scales(SCALE, turned=True)

    @property
    def codes_name(self) -> str:
        """See `MatrixLayout`."""
        return f"int{self.bits}"

    def shape(
        self, parts: Mapping[str, tuple[int, ...]], told: Mapping[str, Array]
    ) -> tuple[int, int] | None:
        """See `MatrixLayout`."""
        words, rows = parts[CODES]
        columns = words * 32 // self.bits
        groups = -(-columns // (self.group or columns))
        fits = words * 32 == columns * self.bits and parts[SCALE] == (groups, rows)
        fits = fits and parts[ZEROS] == (groups, rows * self.bits // 32)
        return (rows, columns) if fits and parts.get(ORDER, (columns,)) == (columns,) else None

    def read(self, parts: Mapping[str, Array], rows: int, columns: int) -> Floats:
        """See `MatrixLayout`."""
        codes = unpack_rows(parts[CODES].T, self.bits, columns)  # (R, C)
        zeros = unpack_rows(parts[ZEROS], self.bits, rows).T.astype(np.int16) + self.less_one
        group = self.group or columns
        in_order = np.arange(columns) // group
        order = parts.get(ORDER, in_order)
        alike = columns % group == 0 and np.array_equal(order, in_order)
        scales = np.ascontiguousarray(parts[SCALE].T)
        return affine(codes, scales, zeros, groups=None if alike else order)

    def parts(self, rows: int, columns: int, scale_dtype: str) -> list[Part]:
        """See `WrittenLayout`."""
        group = self.group or columns
        if rows % 32 or columns % 32 or columns % group or self.bits not in BITS:
            raise ConfigError(
                f"GPTQ cannot hold {self.bits} bits in groups of {group} of {columns} inputs, {rows} outputs",
                hint=f"it wants multiples of 32, whole groups, and {', '.join(map(str, BITS))} bits",
            )
        return [
            Part(CODES, "I32", (columns * self.bits // 32, rows)),
            Part(ZEROS, "I32", (columns // group, rows * self.bits // 32)),
            Part(SCALE, scale_dtype, (columns // group, rows)),
            Part(ORDER, "I32", (columns,)),
        ]

    def write(self, codes: Codes, zeros: NDArray[np.int16] | None) -> dict[str, Array]:
        """See `WrittenLayout`. Zero points are at least 1 in v1: readers add to all of a word at once."""
        rows, columns = codes.shape
        group = self.group or columns
        if zeros is None:
            zeros = np.full((rows, columns // group), 1 << (self.bits - 1), np.int16)
        kept = np.ascontiguousarray((zeros - self.less_one).T).astype(np.uint8)
        return {
            CODES: np.ascontiguousarray(pack_rows(codes, self.bits).T).view(np.int32),
            ZEROS: pack_rows(kept, self.bits).view(np.int32),
            ORDER: (np.arange(columns) // group).astype(np.int32),
        }
