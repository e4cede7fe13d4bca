"""Blocks of 32 written, read back by our readers and by the gguf package's."""

import gguf
import numpy as np
import pytest

from llmkit.formats.gguf import simple as ggml_simple
from llmkit.formats.gguf import simple_write as ggml_simple_write
from llmkit.formats.gguf.blocks import dequantise

CODES = {"Q4_0": 16, "Q4_1": 16, "Q5_0": 32, "Q5_1": 32, "Q8_0": 255, "IQ4_NL": 16}
FIRST = {"Q4_0": -8, "Q4_1": 0, "Q5_0": -16, "Q5_1": 0, "Q8_0": -127}


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("blocks", [1, 7, 300])
def test_written_blocks_hold_the_codes_and_the_scales(name: str, blocks: int) -> None:
    generator = np.random.default_rng(5)
    codes = generator.integers(0, CODES[name], (blocks, 32), dtype=np.uint8)
    fields = {"d": generator.standard_normal(blocks).astype(np.float16)}
    if name.endswith("_1"):
        fields["m"] = generator.standard_normal(blocks).astype(np.float16)
    stored = getattr(ggml_simple_write, f"write_{name.lower()}")(fields, codes)
    raw = stored.view(np.uint8).reshape(blocks, -1)
    numbers = ggml_simple.IQ4_VALUES[codes] if name == "IQ4_NL" else codes.astype(np.float32) + FIRST[name]
    values = fields["d"].astype(np.float32)[:, None] * numbers
    if "m" in fields:
        values += fields["m"].astype(np.float32)[:, None]
    assert np.array_equal(dequantise(raw.reshape(-1), name, (blocks, 32)), values)
    assert np.array_equal(gguf.dequantize(raw, gguf.GGMLQuantizationType[name]), values)


def test_folding_undoes_the_reader_s_spreading() -> None:
    generator = np.random.default_rng(6)
    for bits, run in ((1, 32), (2, 32), (4, 16), (4, 64), (2, 1)):
        packed = generator.integers(0, 256, (9, 64), dtype=np.uint8)
        codes = ggml_simple.spread(packed, bits, run)
        folded = ggml_simple_write.folded(np.ascontiguousarray(codes.T), bits, run)
        assert np.array_equal(folded.T, packed)


def test_planes_and_rows_are_each_other_s_inverse() -> None:
    codes = np.random.default_rng(6).integers(0, 256, (5, 32), dtype=np.uint8)
    assert np.array_equal(ggml_simple_write.rows_of_bytes(ggml_simple_write.planes(codes)), codes)
