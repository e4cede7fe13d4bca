"""MLX's affine layout: codes from 0 in uint32 words along the rows, a scale and a bias for each group.

    M.weight  uint32 (R, C b / 32), dense
    M.scales  (R, G), in the model's dtype
    M.biases  (R, G): what the code 0 stands for

Shapes: R rows, C columns, G groups of a row, b bits. Source: mlx 0.32 (`mx.quantize`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import ConfigError
from llmkit.formats.quantised.matrix_layout import Array, Floats, Part, Scales, affine
from llmkit.formats.quantised.packed_ints import Codes, pack_rows, unpack_rows

CODES, SCALE, BIAS = ".weight", ".scales", ".biases"
BITS, GROUPS = (2, 3, 4, 5, 6, 8), (32, 64, 128)


@dataclass(frozen=True)
class MlxAffine:
    """The layout at some bits and length of group."""

    bits: int
    group: int

    suffixes: ClassVar[tuple[str, ...]] = (CODES, SCALE, BIAS)
    telling: ClassVar[tuple[str, ...]] = ()
    scales: ClassVar[Scales] = Scales(SCALE, bases=BIAS)

    @property
    def codes_name(self) -> str:
        """See `MatrixLayout`."""
        return f"int{self.bits}"

    def shape(
        self, parts: Mapping[str, tuple[int, ...]], told: Mapping[str, Array]
    ) -> tuple[int, int] | None:
        """See `MatrixLayout`."""
        (rows, words), (scale_rows, groups) = parts[CODES], parts[SCALE]
        columns = groups * self.group
        fits = scale_rows == rows and 32 * words == columns * self.bits and parts[BIAS] == parts[SCALE]
        return (rows, columns) if fits else None

    def read(self, parts: Mapping[str, Array], rows: int, columns: int) -> Floats:
        """See `MatrixLayout`."""
        return affine(unpack_rows(parts[CODES], self.bits, columns), parts[SCALE], 0, parts[BIAS])

    def parts(self, rows: int, columns: int, scale_dtype: str) -> list[Part]:
        """See `WrittenLayout`."""
        if self.bits not in BITS or self.group not in GROUPS or columns % self.group:
            raise ConfigError(
                f"MLX cannot hold {self.bits} bits in groups of {self.group or columns} of {columns} inputs",
                hint=f"it wants whole groups of {', '.join(map(str, GROUPS))}, "
                f"and {', '.join(map(str, BITS))} bits",
            )
        scale = (rows, columns // self.group)
        return [
            Part(CODES, "U32", (rows, columns * self.bits // 32)),
            Part(SCALE, scale_dtype, scale),
            Part(BIAS, scale_dtype, scale),
        ]

    def write(self, codes: Codes, zeros: NDArray[np.int16] | None) -> dict[str, Array]:
        """See `WrittenLayout`; there are no zero points."""
        return {CODES: pack_rows(codes, self.bits)}
