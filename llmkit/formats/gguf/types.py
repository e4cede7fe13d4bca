"""How ggml stores numbers: blocks of one size, by the name and the number that a GGUF file gives a type.

A row of a tensor is a whole number of blocks. Source: ggml's block structs, ggml/src/ggml-common.h.
"""

from dataclasses import dataclass

_NUMBERS = 256
"""Numbers in a block of the K and IQ types."""


@dataclass(frozen=True)
class GgmlType:
    """A type of stored numbers."""

    number: int
    """In a file."""
    name: str
    values: int
    """In one block."""
    nbytes: int
    """Of one block, scales included."""

    def row_nbytes(self, values: int) -> int | None:
        """Bytes of one row; None where it is no whole number of blocks."""
        blocks, rest = divmod(values, self.values)
        return None if rest else blocks * self.nbytes


_ALL = (
    # plain numbers
    *(GgmlType(0, "F32", 1, 4), GgmlType(1, "F16", 1, 2), GgmlType(30, "BF16", 1, 2)),
    *(GgmlType(28, "F64", 1, 8), GgmlType(24, "I8", 1, 1), GgmlType(25, "I16", 1, 2)),
    *(GgmlType(26, "I32", 1, 4), GgmlType(27, "I64", 1, 8)),
    # a float16 scale for 32 numbers; in _1 a float16 minimum too; the fifth bits of Q5 apart, 32 in 4 bytes
    GgmlType(2, "Q4_0", 32, 2 + 16),
    GgmlType(3, "Q4_1", 32, 2 + 2 + 16),
    GgmlType(6, "Q5_0", 32, 2 + 4 + 16),
    GgmlType(7, "Q5_1", 32, 2 + 2 + 4 + 16),
    GgmlType(8, "Q8_0", 32, 2 + 32),
    GgmlType(9, "Q8_1", 32, 4 + 4 + 32),
    # float16 scales of a superblock, small scales of its groups, then the codes from low bits to high
    GgmlType(10, "Q2_K", _NUMBERS, 2 + 2 + 16 + 64),
    GgmlType(11, "Q3_K", _NUMBERS, 2 + 12 + 64 + 32),
    GgmlType(12, "Q4_K", _NUMBERS, 2 + 2 + 12 + 128),
    GgmlType(13, "Q5_K", _NUMBERS, 2 + 2 + 12 + 128 + 32),
    GgmlType(14, "Q6_K", _NUMBERS, 2 + 16 + 128 + 64),
    GgmlType(15, "Q8_K", _NUMBERS, 4 + 256 + 32),
    # indices into codebooks, with signs and scales
    GgmlType(19, "IQ1_S", _NUMBERS, 2 + 32 + 16),
    GgmlType(29, "IQ1_M", _NUMBERS, 32 + 16 + 8),
    GgmlType(16, "IQ2_XXS", _NUMBERS, 2 + 64),
    GgmlType(17, "IQ2_XS", _NUMBERS, 2 + 64 + 8),
    GgmlType(22, "IQ2_S", _NUMBERS, 2 + 64 + 8 + 8),
    GgmlType(18, "IQ3_XXS", _NUMBERS, 2 + 64 + 32),
    GgmlType(21, "IQ3_S", _NUMBERS, 2 + 64 + 8 + 32 + 4),
    GgmlType(20, "IQ4_NL", 32, 2 + 16),
    GgmlType(23, "IQ4_XS", _NUMBERS, 2 + 2 + 4 + 128),
    # three values: 5 to a byte, or 4
    GgmlType(34, "TQ1_0", _NUMBERS, 2 + 48 + 4),
    GgmlType(35, "TQ2_0", _NUMBERS, 2 + 64),
    # float4 with a scale of 8 bits for 32 numbers, or 4 of them for 64; bits or twos with a float16 scale
    GgmlType(39, "MXFP4", 32, 1 + 16),
    GgmlType(40, "NVFP4", 64, 4 + 32),
    GgmlType(41, "Q1_0", 128, 2 + 16),
    GgmlType(42, "Q2_0", 64, 2 + 16),
)

GGML_TYPES: dict[str, GgmlType] = {kind.name: kind for kind in _ALL}
"""By name."""
GGML_TYPES_BY_NUMBER: dict[int, GgmlType] = {kind.number: kind for kind in _ALL}
"""By the number that files have."""
