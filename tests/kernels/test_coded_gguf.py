"""GGUF's blocks as codes: the numbers that ggml's reference gives, to the bit, after any bytes at all."""

import numpy as np
import pytest

from llmkit.formats.gguf.blocks import LAYOUTS, dequantise
from llmkit.formats.gguf.types import GGML_TYPES
from llmkit.kernels.coded_gguf import GROUPINGS, gguf_matrix
from llmkit.kernels.grouped import pack_coded
from llmkit.kernels.library import available
from tests.kernels.native.calls import coded_row

ROWS, COLUMNS = 19, 512


def blocks(type_name: str) -> np.ndarray:
    """Random blocks; their floats are no NaN."""
    random = np.random.default_rng(7)
    layout = LAYOUTS[type_name]
    count = ROWS * COLUMNS // GGML_TYPES[type_name].values
    stored = random.integers(0, 256, size=count * layout.itemsize).astype(np.uint8).view(layout)
    for name in ("d", "dmin", "m"):
        if name in layout.names and layout[name] == np.dtype("<f2"):
            stored[name] = random.normal(size=count)
    if type_name == "MXFP4":
        stored["e"] = random.integers(0, 140, size=count)
    return stored.view(np.uint8)


@pytest.mark.parametrize("type_name", GROUPINGS)
def test_codes_stand_for_the_same_numbers(type_name: str) -> None:
    raw = blocks(type_name)
    expected = dequantise(raw, type_name, (ROWS, COLUMNS))
    matrix = gguf_matrix(raw, type_name, ROWS, COLUMNS)
    found = matrix.read(np.arange(ROWS))
    assert found.grouping == GROUPINGS[type_name]
    assert np.array_equal(found.values(), expected)
    assert np.array_equal(matrix.read(np.array([7, 2])).values(), expected[[7, 2]])
    if available():
        assert np.array_equal(coded_row(pack_coded(matrix), 17), expected[17])


def test_every_type_but_codebooks_ternary_ones_and_plain_numbers_is_taken() -> None:
    codebooks = {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"}
    plain, ternary = {"F32", "F16", "BF16", "F64"}, {"TQ1_0", "TQ2_0", "Q1_0", "Q2_0"}
    assert set(LAYOUTS) - set(GROUPINGS) == plain | ternary | codebooks
