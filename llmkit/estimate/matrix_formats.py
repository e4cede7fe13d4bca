"""Bytes of one matrix in the formats that safetensors files hold: codes, scales, zero points and indices.

Each format is a matrix of (rows, columns) = (outputs, inputs). Groups that share a scale lie along a row.
Sources: compressed-tensors 0.20, AutoGPTQ and GPTQModel, AutoAWQ, mlx-lm 0.32, bitsandbytes 0.50 and
transformers 5.
"""

from typing import Literal, NamedTuple, Protocol

import msgspec

from llmkit.errors import ConfigError

HALF = 2
"""Bytes of a float16 or bfloat16, which scales are stored in where nothing else is said."""


class Pieces(NamedTuple):
    """Bytes of a matrix, by what they are."""

    codes: int
    scales: int = 0
    zeros: int = 0
    """Zero points, or the biases of an affine format."""
    index_bytes: int = 0
    """Shapes, orders and code tables: in the files, but published formulas leave them out."""


MLX_MODES = ("affine", "mxfp4", "mxfp8", "nvfp4")


class MatrixFormat(Protocol):
    """A way to store a matrix."""

    @property
    def codes_name(self) -> str:
        """What the codes are: int4, fp8, nf4, …"""

    def pieces(self, rows: int, columns: int) -> Pieces | None:
        """Bytes of one matrix; None where the format leaves a matrix of this shape alone.

        Raises:
            ConfigError: the format cannot hold this shape.
        """


class Packed(msgspec.Struct, frozen=True):
    """compressed-tensors pack-quantized: codes in int32 words, dense along a row, and the matrix's shape."""

    bits: int
    group: int | None = None
    """Columns that share a scale; None for a scale each row."""
    symmetric: bool = True
    ordered: bool = False
    """Whether the group of each column is stored (actorder "group", until 2026)."""

    @property
    def codes_name(self) -> str:
        """By bits."""
        return f"int{self.bits}"

    def pieces(self, rows: int, columns: int) -> Pieces:
        """Bytes of one matrix."""
        groups = _groups(columns, self.group)
        zeros = 0 if self.symmetric else _words(rows * self.bits) * groups
        index = 2 * 8 + (4 * columns if self.ordered else 0)
        return Pieces(rows * _words(columns * self.bits), rows * groups * HALF, zeros, index)


class Bytewise(msgspec.Struct, frozen=True):
    """compressed-tensors int-quantized and float-quantized: a byte a number."""

    codes_name: str
    scale: Literal["tensor", "channel"] | tuple[int, int] | int = "channel"
    """A scale for each matrix, row, block of (rows, columns), or group of columns."""
    symmetric: bool = True
    input_scale: bool = False
    """Whether a scale of the activations is stored as well."""

    def pieces(self, rows: int, columns: int) -> Pieces:
        """Bytes of one matrix."""
        match self.scale:
            case "tensor":
                scales = 1
            case "channel":
                scales = rows
            case (block_rows, block_columns):
                scales = -(-rows // block_rows) * -(-columns // block_columns)
            case group:
                scales = rows * _groups(columns, group)
        return Pieces(rows * columns, (scales + self.input_scale) * HALF, 0 if self.symmetric else scales)


class Gptq(msgspec.Struct, frozen=True):
    """GPTQ: codes in int32 words along the inputs, zero points in any case, the group of each input."""

    bits: int
    group: int | None = 128

    @property
    def codes_name(self) -> str:
        """By bits."""
        return f"int{self.bits}"

    def pieces(self, rows: int, columns: int) -> Pieces:
        """Bytes of one matrix."""
        if rows % 32 or columns % 32:
            raise _shape("GPTQ", rows, columns, "multiples of 32")
        groups = -(-columns // (self.group or columns))
        return Pieces(
            codes=columns * rows * self.bits // 8,
            scales=groups * rows * HALF,
            zeros=groups * rows * self.bits // 8,
            index_bytes=columns * 4,
        )


class Awq(msgspec.Struct, frozen=True):
    """AWQ's gemm layout: 4-bit codes and zero points, eight outputs to an int32."""

    group: int | None = 128
    codes_name: str = "int4"

    def pieces(self, rows: int, columns: int) -> Pieces:
        """Bytes of one matrix."""
        if rows % 8:
            raise _shape("AWQ", rows, columns, "outputs that are a multiple of 8")
        groups = _groups(columns, self.group)
        return Pieces(columns * rows // 2, groups * rows * HALF, groups * rows // 2)


class Mlx(msgspec.Struct, frozen=True):
    """MLX: codes in uint32 words along a row; a scale and, in affine mode, a bias for each group.

    A matrix whose rows are no multiple of the group stays as it is.
    """

    bits: int
    group: int
    mode: str = "affine"
    """One of `MLX_MODES`; all but affine have scales of one byte and no biases."""

    @property
    def codes_name(self) -> str:
        """By bits."""
        return f"int{self.bits}" if self.mode == "affine" else self.mode

    def pieces(self, rows: int, columns: int) -> Pieces | None:
        """Bytes of one matrix."""
        if columns % self.group:
            return None
        codes, groups = rows * _words(columns * self.bits), rows * columns // self.group
        if self.mode == "affine":
            return Pieces(codes, groups * HALF, groups * HALF)
        return Pieces(codes, groups)


class Nf4(msgspec.Struct, frozen=True):
    """bitsandbytes' NF4 (and FP4): two codes a byte, a scale for 64 numbers, in 8 bits itself if `double`.

    Not counted: a JSON text of about 200 bytes for each matrix, whose length depends on the numbers.
    """

    double: bool = True
    codes_name: str = "nf4"

    def pieces(self, rows: int, columns: int) -> Pieces:
        """Bytes of one matrix."""
        blocks = -(-rows * columns // 64)
        table, nested_table = 16 * 4, 256 * 4
        if self.double:
            return Pieces(
                -(-rows * columns // 2), blocks + 4 * -(-blocks // 256), index_bytes=table + nested_table
            )
        return Pieces(-(-rows * columns // 2), 4 * blocks, index_bytes=table)


class BnbInt8(msgspec.Struct, frozen=True):
    """bitsandbytes' LLM.int8(): a byte a number, a float32 scale for each row, a byte that says so."""

    codes_name: str = "int8"

    def pieces(self, rows: int, columns: int) -> Pieces:
        """Bytes of one matrix."""
        return Pieces(rows * columns, rows * 4, index_bytes=1)


class Fp8(msgspec.Struct, frozen=True):
    """DeepSeek's and transformers' fp8: float32 scales for blocks of (rows, columns), or one for all."""

    block: tuple[int, int] | None = (128, 128)
    input_scale: bool = False
    codes_name: str = "fp8"

    def pieces(self, rows: int, columns: int) -> Pieces:
        """Bytes of one matrix."""
        block_rows, block_columns = self.block or (rows, columns)
        scales = -(-rows // block_rows) * -(-columns // block_columns)
        return Pieces(rows * columns, (scales + self.input_scale) * 4)


class MicroScaled(msgspec.Struct, frozen=True):
    """float4 numbers with a scale of one byte for a few: MXFP4 (32) and NVFP4 (16)."""

    codes_name: str
    group: int
    globals: int = 0
    """float32 scales beside: of the weights, of the activations."""

    def pieces(self, rows: int, columns: int) -> Pieces:
        """Bytes of one matrix."""
        return Pieces(rows * columns // 2, rows * _groups(columns, self.group) + 4 * self.globals)


def _groups(columns: int, group: int | None) -> int:
    """Groups of a row."""
    groups, rest = divmod(columns, group or columns)
    if rest:
        raise ConfigError(
            f"groups of {group} do not divide a row of {columns} numbers",
            hint="choose a format with smaller groups, such as w4a16-g32",
        )
    return groups


def _words(bits: int) -> int:
    """Bytes of the 32-bit words that hold these bits."""
    return -(-bits // 32) * 4


def _shape(name: str, rows: int, columns: int, wanted: str) -> ConfigError:
    return ConfigError(
        f"{name} cannot hold a matrix of {columns} inputs and {rows} outputs: it wants {wanted}",
        hint="choose another format, such as w4a16-g32",
    )
