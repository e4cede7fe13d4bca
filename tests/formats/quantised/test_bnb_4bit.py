"""bitsandbytes' 4-bit weights, against numbers worked out by hand."""

import json
from typing import Any

import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.formats.quantised.bnb_4bit import (
    ABSMAX,
    CODES,
    NESTED_ABSMAX,
    NESTED_TABLE,
    NF4,
    STATES,
    TABLE,
    Bnb4Bit,
    state_of,
)

ROWS, COLUMNS = 2, 64


def _parts(**state: Any) -> dict[str, Any]:
    text = json.dumps(
        {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [ROWS, COLUMNS], **state}
    )
    return {
        CODES: (np.arange(ROWS * COLUMNS // 2) % 256).astype(np.uint8)[:, None],
        TABLE: NF4,
        STATES[0]: np.frombuffer(text.encode(), np.uint8),
    }


def test_the_first_number_is_in_the_high_nibble_and_each_block_has_its_largest() -> None:
    parts = _parts() | {ABSMAX: np.array([2.0, 10.0], np.float32)}
    layout = Bnb4Bit()
    assert layout.shape({suffix: part.shape for suffix, part in parts.items()}, parts) == (ROWS, COLUMNS)
    values = layout.read(parts, ROWS, COLUMNS)
    assert values[0, :4].tolist() == [2 * NF4[0], 2 * NF4[0], 2 * NF4[0], 2 * NF4[1]]  # bytes 0x00, 0x01
    assert values[1, 6:8].tolist() == [10 * NF4[0x2], 10 * NF4[0x3]]  # byte 35 is 0x23


def test_the_largest_of_blocks_may_be_codes_themselves() -> None:
    table = np.linspace(-1, 1, 256, dtype=np.float32)
    plain = _parts(nested_offset=0.25, nested_blocksize=256)
    parts = plain | {
        ABSMAX: np.array([255, 0], np.uint8),
        NESTED_TABLE: table,
        NESTED_ABSMAX: np.array([0.5], np.float32),
    }
    as_if = plain | {ABSMAX: np.array([0.5 * 1 + 0.25, 0.5 * -1 + 0.25], np.float32)}
    assert np.array_equal(Bnb4Bit().read(parts, ROWS, COLUMNS), Bnb4Bit().read(as_if, ROWS, COLUMNS))


def test_a_state_that_is_damaged_or_not_there_is_told() -> None:
    with pytest.raises(DataError, match="quant_state is damaged"):
        state_of({})
    with pytest.raises(DataError, match="quant_state is damaged"):
        state_of({STATES[1]: np.frombuffer(b'{"blocksize": 64}', np.uint8)})
