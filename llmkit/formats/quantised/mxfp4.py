"""MXFP4 of gpt-oss as published: stacks of 4-bit floats, a power of two for 32 of them. Read only.

    M_blocks  uint8 (N, R, C / 32, 16): two codes a byte, the first in the low nibble
    M_scales  uint8 (N, R, C / 32): exponents of two, 127 is 1

Seen as one matrix of N R rows. Shapes: N experts, R rows (outputs), C columns (inputs).
Source: transformers 5 (`convert_moe_packed_tensors`), OCP Microscaling Formats 1.0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.gguf.blocks import dequantise
from llmkit.formats.quantised.matrix_layout import Array, Floats

CODES, SCALE = "_blocks", "_scales"
_BLOCK, _BYTES = 32, 16
"""Numbers that share a scale, and bytes of their codes."""


@dataclass(frozen=True)
class Mxfp4:
    """The layout: nothing varies."""

    codes_name: ClassVar[str] = "mxfp4"
    telling: ClassVar[tuple[str, ...]] = ()
    suffixes: ClassVar[tuple[str, ...]] = (CODES, SCALE)

    def shape(
        self, parts: Mapping[str, tuple[int, ...]], told: Mapping[str, Array]
    ) -> tuple[int, int] | None:
        """See `MatrixLayout`."""
        *stack, blocks, nbytes = parts[CODES]
        fits = len(stack) == 2 and nbytes == _BYTES and parts[SCALE] == (*stack, blocks)
        return (math.prod(stack), blocks * _BLOCK) if fits else None

    def read(self, parts: Mapping[str, Array], rows: int, columns: int) -> Floats:
        """See `MatrixLayout`."""
        return dequantise(ggml_blocks(parts), "MXFP4", (rows, columns))


def ggml_blocks(parts: Mapping[str, Array]) -> NDArray[np.uint8]:
    """The same numbers as the blocks of GGUF files: (bytes,).

    There a scale stands before its codes, and the first 16 of them are in the low nibbles.
    """
    codes = parts[CODES].reshape(-1, _BYTES)
    numbers = np.empty((len(codes), _BLOCK), np.uint8)
    numbers[:, 0::2], numbers[:, 1::2] = codes & 15, codes >> 4
    blocks = np.empty((len(codes), 1 + _BYTES), np.uint8)
    blocks[:, 0] = parts[SCALE].reshape(-1)
    blocks[:, 1:] = numbers[:, :_BYTES] | numbers[:, _BYTES:] << 4
    return blocks.reshape(-1)
