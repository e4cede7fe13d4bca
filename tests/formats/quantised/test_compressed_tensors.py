"""pack-quantized, against the library that defines it."""

from typing import Any

import numpy as np
import pytest
import torch

from llmkit.errors import ConfigError
from llmkit.formats.quantised.compressed_tensors import ORDER, PACKED, SCALE, SHAPE, ZEROS, PackQuantized

ROWS, COLUMNS = 24, 96


@pytest.fixture(scope="module")
def library() -> Any:
    """Its packing, where it is installed."""
    pytest.importorskip("compressed_tensors", reason="pip install compressed-tensors (0.19 or later)")
    from compressed_tensors.compressors.pack_quantized import helpers

    return helpers


def _codes(bits: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(bits).integers(0, 1 << bits, (ROWS, COLUMNS)).astype(np.uint8)


@pytest.mark.parametrize("bits", range(2, 9))
def test_codes_and_zero_points_are_packed_as_the_library_does(bits: int, library: Any) -> None:
    codes = _codes(bits)
    zeros = np.random.default_rng(9).integers(0, 1 << bits, (ROWS, 3)).astype(np.int16)
    made = PackQuantized(bits, 32, symmetric=False).write(codes, zeros)
    half = 1 << (bits - 1)
    signed = torch.from_numpy(codes.astype(np.int16) - half).to(torch.int8)
    assert torch.equal(torch.from_numpy(made[PACKED]), library.pack_to_int32(signed, bits))
    signed_zeros = torch.from_numpy(zeros - half).to(torch.int8)
    packed = library.pack_to_int32(signed_zeros, bits, packed_dim=0)
    assert torch.equal(torch.from_numpy(made[ZEROS]), packed)
    assert made[SHAPE].tolist() == [ROWS, COLUMNS]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "group"), [(3, 32), (4, 0), (8, 32)])
def test_what_is_written_is_read_as_scale_times_code_less_zero(
    bits: int, group: int, symmetric: bool
) -> None:
    layout, codes = PackQuantized(bits, group, symmetric), _codes(bits)
    groups = COLUMNS // (group or COLUMNS)
    rng = np.random.default_rng(1)
    scales = rng.normal(size=(ROWS, groups)).astype(np.float32)
    zeros = rng.integers(0, 1 << bits, (ROWS, groups)).astype(np.int16)
    parts = layout.write(codes, None if symmetric else zeros) | {SCALE: scales}
    shapes = {suffix: part.shape for suffix, part in parts.items()}
    assert shapes == {part.suffix: part.shape for part in layout.parts(ROWS, COLUMNS, "F32")}
    assert layout.shape(shapes, parts) == (ROWS, COLUMNS)
    values = layout.read(parts, ROWS, COLUMNS)
    for row, column in ((0, 0), (5, 40), (23, 95)):
        place = column // (group or COLUMNS)
        zero = 1 << (bits - 1) if symmetric else zeros[row, place]
        assert values[row, column] == scales[row, place] * np.float32(int(codes[row, column]) - int(zero))


def test_columns_in_another_order_have_their_groups_in_a_tensor() -> None:
    layout, codes = PackQuantized(4, 32), _codes(4)
    order = np.random.default_rng(2).permutation(np.arange(COLUMNS) // 32).astype(np.int32)
    scales = np.arange(1, 1 + 3 * ROWS, dtype=np.float32).reshape(ROWS, 3)
    parts = layout.write(codes, None) | {SCALE: scales, ORDER: order}
    values = layout.read(parts, ROWS, COLUMNS)
    assert values[7, 50] == scales[7, order[50]] * (int(codes[7, 50]) - 8)


def test_shapes_that_do_not_fit_are_told() -> None:
    layout = PackQuantized(4, 32)
    told = {SHAPE: np.array([ROWS, COLUMNS])}
    shapes = {PACKED: (ROWS, 12), SCALE: (ROWS, 3), SHAPE: (2,)}
    assert layout.shape(shapes, told) == (ROWS, COLUMNS)
    assert layout.shape(shapes | {PACKED: (ROWS, 13)}, told) is None
    assert layout.shape(shapes | {SCALE: (ROWS, 4)}, told) is None
    assert layout.shape(shapes | {ZEROS: (3, 3)}, told) is None
    assert layout.shape(shapes, {}) is None
    with pytest.raises(ConfigError, match="groups of 32 do not divide a row of 100 numbers"):
        layout.parts(8, 100, "BF16")
