"""MLX's affine layout, against mlx itself on this machine's processor."""

from typing import Any

import numpy as np
import pytest

from llmkit.errors import ConfigError
from llmkit.formats.quantised.mlx_affine import BIAS, BITS, CODES, GROUPS, SCALE, MlxAffine
from llmkit.formats.quantised.packed_ints import unpack_rows

ROWS, COLUMNS = 6, 256


@pytest.fixture(scope="module")
def mx() -> Any:
    """Apple's library, which has a build for any processor."""
    return pytest.importorskip("mlx.core", reason="pip install 'mlx[cpu]'")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("bits", BITS)
def test_mlxs_matrices_are_read_and_ours_are_read_by_mlx(bits: int, group: int, mx: Any) -> None:
    weight = mx.array(np.random.default_rng(bits).normal(size=(ROWS, COLUMNS)).astype(np.float32))
    packed, scales, biases = mx.quantize(weight, group_size=group, bits=bits)
    parts = {CODES: np.array(packed), SCALE: np.array(scales), BIAS: np.array(biases)}
    layout = MlxAffine(bits, group)
    shapes = {suffix: part.shape for suffix, part in parts.items()}
    assert layout.shape(shapes, {}) == (ROWS, COLUMNS)
    assert shapes == {part.suffix: part.shape for part in layout.parts(ROWS, COLUMNS, "F32")}
    theirs = np.array(mx.dequantize(packed, scales, biases, group_size=group, bits=bits))
    assert np.abs(layout.read(parts, ROWS, COLUMNS) - theirs).max() < 1e-6
    again = layout.write(unpack_rows(parts[CODES], bits, COLUMNS), None)[CODES]
    assert np.array_equal(again, parts[CODES])


def test_shapes_that_do_not_fit_are_told() -> None:
    shapes = {CODES: (6, 32), SCALE: (6, 4), BIAS: (6, 4)}
    assert MlxAffine(4, 64).shape(shapes, {}) == (ROWS, COLUMNS)
    assert MlxAffine(8, 64).shape(shapes, {}) is None
    with pytest.raises(ConfigError, match="MLX cannot hold 7 bits in groups of 64 of 256 inputs"):
        MlxAffine(7, 64).parts(6, 256, "F16")
