"""A byte a number, and a scale for each matrix, row or block: float8 (e4m3) and int8 weights.

    M.weight             float8_e4m3 or int8 (R, C)
    M.weight_scale       (1,), (R, 1), or (blocks of rows, blocks of columns): compressed-tensors
    M.weight_scale_inv   (blocks of rows, blocks of columns): DeepSeek's and transformers' "fp8"
    M.weight_zero_point  int8, as the scales; absent where codes are symmetric

Shapes: R rows, C columns. Sources: compressed-tensors 0.20, transformers 5, arXiv:2209.05433 (the formats).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.quantised.matrix_layout import Array, Floats, Part, Scales
from llmkit.formats.quantised.packed_ints import Codes

CODES, SCALE, SCALE_INV, ZEROS = ".weight", ".weight_scale", ".weight_scale_inv", ".weight_zero_point"
_NAN = 0x7F


def e4m3_values() -> Floats:
    """What each byte of float8_e4m3fn stands for: (256,), of which 0x7f and 0xff are NaN."""
    code = np.arange(256)
    exponent, mantissa = (code >> 3) & 15, code & 7
    size = np.where(exponent > 0, (8 + mantissa) * 2.0 ** (exponent - 10.0), mantissa * 2.0**-9)
    size[code & _NAN == _NAN] = np.nan
    return np.where(code < 128, size, -size).astype(np.float32)


E4M3 = e4m3_values()
E4M3_BYTES = np.array(
    sorted(
        (byte for byte in range(256) if byte & _NAN != _NAN and byte != 0x80), key=lambda byte: E4M3[byte]
    ),
    dtype=np.uint8,
)
"""The bytes of all values, each once, smallest value first: 253."""


@dataclass(frozen=True)
class Bytewise:
    """The layout at some kind of number and some places of scales."""

    codes: str = "F8_E4M3"
    """safetensors' word: F8_E4M3 or I8."""
    block: tuple[int, int] | None = None
    """Rows and columns that share a scale; None: told by the scale's shape, one for all or one a row."""
    inverse: bool = False
    """Whether the scale is called `weight_scale_inv`. (It is multiplied by all the same.)"""

    telling: ClassVar[tuple[str, ...]] = ()
    scales: ClassVar[Scales] = Scales(SCALE)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """See `MatrixLayout`."""
        return (CODES, self.scale, ZEROS)

    @property
    def codes_name(self) -> str:
        """See `MatrixLayout`."""
        return "fp8" if self.codes == "F8_E4M3" else "int8"

    def shape(
        self, parts: Mapping[str, tuple[int, ...]], told: Mapping[str, Array]
    ) -> tuple[int, int] | None:
        """See `MatrixLayout`."""
        rows, columns = parts[CODES]
        scale = parts[self.scale]
        if self.block is None:
            return (rows, columns) if scale in ((), (1,), (1, 1), (rows,), (rows, 1)) else None
        high, wide = self.block
        return (rows, columns) if scale == (-(-rows // high), -(-columns // wide)) else None

    def read(self, parts: Mapping[str, Array], rows: int, columns: int) -> Floats:
        """See `MatrixLayout`."""
        codes = parts[CODES]
        values = E4M3[codes] if self.codes == "F8_E4M3" else codes.astype(np.float32)
        if ZEROS in parts:
            values -= self._spread(parts[ZEROS].astype(np.float32), rows, columns)
        values *= self._spread(parts[self.scale], rows, columns)
        return values

    def parts(self, rows: int, columns: int, scale_dtype: str) -> list[Part]:
        """See `WrittenLayout`: a scale each row."""
        return [Part(CODES, self.codes, (rows, columns)), Part(SCALE, scale_dtype, (rows, 1))]

    def write(self, codes: Codes, zeros: NDArray[np.int16] | None) -> dict[str, Array]:
        """See `WrittenLayout`: codes are places in `E4M3_BYTES`, or int8 numbers from -128."""
        if self.codes == "F8_E4M3":
            return {CODES: E4M3_BYTES[codes]}
        return {CODES: (codes.astype(np.int16) - 128).astype(np.int8)}

    @property
    def scale(self) -> str:
        """The suffix of the scales."""
        return SCALE_INV if self.inverse else SCALE

    def _spread(self, scale: Floats, rows: int, columns: int) -> Floats:
        """The scale of each number: broadcasts to (R, C)."""
        if self.block is None:
            return scale.reshape(-1, 1)
        high, wide = self.block
        return scale.repeat(high, 0)[:rows].repeat(wide, 1)[:, :columns]
