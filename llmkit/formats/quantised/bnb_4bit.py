"""bitsandbytes' 4-bit weights (NF4, FP4): two codes a byte, a step for each 64 numbers. Read only.

    M.weight                    uint8 (R C / 2, 1): the first of two numbers in the high nibble
    M.weight.absmax             float32 (blocks,), or uint8 codes of nested_quant_map
    M.weight.quant_map          float32 (16,): what codes stand for
    M.weight.nested_absmax      float32, a step for each 256 of those
    M.weight.nested_quant_map   float32 (256,)
    M.weight.quant_state.bitsandbytes__nf4 (or fp4): a JSON text as uint8, the shape in it

Shapes: R rows, C columns. Source: bitsandbytes 0.50 (`QuantState.as_dict`), arXiv:2305.14314.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import numpy as np

from llmkit.errors import DataError
from llmkit.formats.quantised.matrix_layout import Array, Floats

CODES, ABSMAX, TABLE = ".weight", ".weight.absmax", ".weight.quant_map"
NESTED_ABSMAX, NESTED_TABLE = ".weight.nested_absmax", ".weight.nested_quant_map"
STATES = (".weight.quant_state.bitsandbytes__nf4", ".weight.quant_state.bitsandbytes__fp4")
NF4 = np.array(
    (
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ),
    dtype=np.float32,
)
"""What the codes of NF4 stand for: quantiles of a normal distribution, over the largest of a block."""


class State(msgspec.Struct, frozen=True):
    """What the JSON text says."""

    shape: tuple[int, int]
    blocksize: int
    nested_blocksize: int = 256
    nested_offset: float = 0.0


@dataclass(frozen=True)
class Bnb4Bit:
    """The layout; all that varies is in the files."""

    codes_name: ClassVar[str] = "nf4"
    telling: ClassVar[tuple[str, ...]] = STATES
    suffixes: ClassVar[tuple[str, ...]] = (CODES, ABSMAX, TABLE, NESTED_ABSMAX, NESTED_TABLE, *STATES)

    def shape(
        self, parts: Mapping[str, tuple[int, ...]], told: Mapping[str, Array]
    ) -> tuple[int, int] | None:
        """See `MatrixLayout`."""
        rows, columns = state_of(told).shape
        fits = math.prod(parts[CODES]) == -(-rows * columns // 2) and parts[TABLE] == (16,)
        return (rows, columns) if fits else None

    def read(self, parts: Mapping[str, Array], rows: int, columns: int) -> Floats:
        """See `MatrixLayout`."""
        state = state_of(parts)
        packed = parts[CODES].reshape(-1)
        values = np.empty(2 * packed.size, np.float32)
        values[0::2], values[1::2] = parts[TABLE][packed >> 4], parts[TABLE][packed & 15]
        values = values[: rows * columns]
        values *= self.steps(parts, state).repeat(state.blocksize)[: values.size]
        return values.reshape(rows, columns)

    def steps(self, parts: Mapping[str, Array], state: State) -> Floats:
        """The step of each block, (blocks,)."""
        absmax = parts[ABSMAX]
        if NESTED_TABLE in parts:
            steps = parts[NESTED_ABSMAX].repeat(state.nested_blocksize)[: absmax.size]
            absmax = parts[NESTED_TABLE][absmax] * steps + np.float32(state.nested_offset)
        return absmax.reshape(-1)


def state_of(parts: Mapping[str, Any]) -> State:
    """The JSON text among a matrix's tensors.

    Raises:
        DataError: there is none, or it is damaged.
    """
    content = next((parts[suffix] for suffix in STATES if suffix in parts), None)
    try:
        return msgspec.json.decode(b"" if content is None else content.tobytes(), type=State)
    except msgspec.DecodeError as error:
        raise DataError(
            f"a 4-bit weight's quant_state is damaged ({error})", hint="fetch the model again"
        ) from None
