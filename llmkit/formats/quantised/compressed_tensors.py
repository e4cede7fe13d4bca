"""compressed-tensors' pack-quantized (vLLM, llm-compressor): whole codes in int32 words along the rows.

    M.weight_packed      int32 (R, ceil(C b / 32)), code + 2^(b-1), dense (as the library packs from 0.19)
    M.weight_scale       (R, G), (R, 1) or (1,)
    M.weight_shape       int64 (2,): R, C
    M.weight_zero_point  int32 (ceil(R b / 32), G), packed down the columns; absent where codes are symmetric
    M.weight_g_idx       int32 (C,), the group of each column; written until 2026 with actorder "group"

Shapes: R rows, C columns, G groups of a row, b bits. Source: compressed-tensors 0.20.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import ConfigError
from llmkit.formats.quantised.matrix_layout import Array, Floats, Part, Scales, affine
from llmkit.formats.quantised.packed_ints import (
    Codes,
    pack_columns,
    pack_rows,
    unpack_columns,
    unpack_rows,
    words_of,
)

PACKED, SCALE, SHAPE = ".weight_packed", ".weight_scale", ".weight_shape"
ZEROS, ORDER = ".weight_zero_point", ".weight_g_idx"


@dataclass(frozen=True)
class PackQuantized:
    """The layout at some bits and length of group."""

    bits: int
    group: int = 0
    """Columns that share a scale; 0: the whole row."""
    symmetric: bool = True

    telling: ClassVar[tuple[str, ...]] = (SHAPE,)
    suffixes: ClassVar[tuple[str, ...]] = (PACKED, SCALE, SHAPE, ZEROS, ORDER)
    scales: ClassVar[Scales] = Scales(SCALE)

    @property
    def codes_name(self) -> str:
        """See `MatrixLayout`."""
        return f"int{self.bits}"

    def shape(
        self, parts: Mapping[str, tuple[int, ...]], told: Mapping[str, Array]
    ) -> tuple[int, int] | None:
        """See `MatrixLayout`."""
        if SHAPE not in told or told[SHAPE].shape != (2,):
            return None
        rows, columns = map(int, told[SHAPE])
        groups, rest = divmod(columns, self.group or columns)
        fits = not rest and parts[PACKED] == (rows, words_of(columns, self.bits))
        fits = fits and (
            parts[SCALE] == (rows, groups) or (not self.group and parts[SCALE] in ((1,), (1, 1)))
        )
        fits = fits and parts.get(ORDER, (columns,)) == (columns,)
        zeros = None if self.symmetric else (words_of(rows, self.bits), groups)
        return (rows, columns) if fits and parts.get(ZEROS) == zeros else None

    def read(self, parts: Mapping[str, Array], rows: int, columns: int) -> Floats:
        """See `MatrixLayout`."""
        codes = unpack_rows(parts[PACKED], self.bits, columns)
        zeros: Array | int = 1 << (self.bits - 1)
        if not self.symmetric:
            zeros = unpack_columns(parts[ZEROS], self.bits, rows)
        scales = parts[SCALE]
        scales = scales.reshape(1, 1) if scales.ndim < 2 else scales
        return affine(codes, scales, zeros, groups=parts.get(ORDER))

    def parts(self, rows: int, columns: int, scale_dtype: str) -> list[Part]:
        """See `WrittenLayout`."""
        groups, rest = divmod(columns, self.group or columns)
        if rest:
            raise ConfigError(
                f"groups of {self.group} do not divide a row of {columns} numbers",
                hint="choose smaller groups, such as int4-g32",
            )
        made = [
            Part(PACKED, "I32", (rows, words_of(columns, self.bits))),
            Part(SCALE, scale_dtype, (rows, groups)),
            Part(SHAPE, "I64", (2,)),
        ]
        if not self.symmetric:
            made.append(Part(ZEROS, "I32", (words_of(rows, self.bits), groups)))
        return made

    def write(self, codes: Codes, zeros: NDArray[np.int16] | None) -> dict[str, Array]:
        """See `WrittenLayout`."""
        made: dict[str, Array] = {
            PACKED: pack_rows(codes, self.bits).view(np.int32),
            SHAPE: np.array(codes.shape, np.int64),
        }
        if not self.symmetric:
            assert zeros is not None
            made[ZEROS] = pack_columns(zeros.astype(np.uint8), self.bits).view(np.int32)
        return made
