"""Superblocks written, read back by our readers and by the gguf package's."""

import gguf
import numpy as np
import pytest

from llmkit.formats.gguf import k_quants_write as ggml_k_write
from llmkit.formats.gguf.blocks import dequantise
from llmkit.formats.gguf.simple import IQ4_VALUES

FORMATS = {  # groups, codes, the first code's value, scales from and to, whether with minima
    "Q2_K": (16, 4, 0, 0, 15, True),
    "Q3_K": (16, 8, -4, -32, 31, False),
    "Q4_K": (8, 16, 0, 0, 63, True),
    "Q5_K": (8, 32, 0, 0, 63, True),
    "Q6_K": (16, 64, -32, -128, 127, False),
    "IQ4_XS": (8, 16, 0, -32, 31, False),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("blocks", [1, 40])
def test_written_superblocks_hold_the_codes_and_the_scales(name: str, blocks: int) -> None:
    groups, count, first, low, high, with_minima = FORMATS[name]
    generator = np.random.default_rng(5)
    codes = generator.integers(0, count, (blocks, 256), dtype=np.uint8)
    fields = {
        "d": generator.standard_normal(blocks).astype(np.float16),
        "scales": generator.integers(low, high + 1, (blocks, groups)).astype(np.float32),
    }
    numbers = (IQ4_VALUES[codes] if name == "IQ4_XS" else codes.astype(np.float32) + first).reshape(
        blocks, groups, -1
    )
    values = (fields["d"].astype(np.float32)[:, None] * fields["scales"])[..., None] * numbers
    if with_minima:
        fields["dmin"] = generator.standard_normal(blocks).astype(np.float16)
        fields["mins"] = generator.integers(low, high + 1, (blocks, groups)).astype(np.float32)
        values -= (fields["dmin"].astype(np.float32)[:, None] * fields["mins"])[..., None]
    stored = getattr(ggml_k_write, f"write_{name.lower()}")(fields, codes)
    raw = stored.view(np.uint8).reshape(blocks, -1)
    assert np.array_equal(dequantise(raw.reshape(-1), name, (blocks, 256)), values.reshape(blocks, 256))
    theirs = gguf.dequantize(raw, gguf.GGMLQuantizationType[name])
    assert np.array_equal(theirs, values.reshape(blocks, 256))
