"""Quantised matrices of safetensors files as codes: the numbers that each layout's own reader gives."""

from typing import Any

import numpy as np
import pytest

from llmkit.formats.awq import Awq
from llmkit.formats.bytewise import Bytewise
from llmkit.formats.compressed_tensors import ORDER, PackQuantized
from llmkit.formats.gptq import ORDER as GPTQ_ORDER
from llmkit.formats.gptq import Gptq
from llmkit.formats.mlx_affine import MlxAffine
from llmkit.kernels.coded import Codes
from llmkit.kernels.coded_layouts import layout_matrix, takes_layout

ROWS, COLUMNS = 32, 256
LAYOUTS: list[tuple[Any, int]] = [
    *((Gptq(bits, group), bits) for bits, group in ((2, 64), (3, 32), (4, 128), (8, 64), (4, 0))),
    (Gptq(4, 64, less_one=False), 4),
    *((Awq(group), 4) for group in (32, 128, 0)),
    *((PackQuantized(bits, group, symmetric), bits) for bits in (3, 4, 6, 8) for group in (32, 128, 0)
      for symmetric in (True, False)),
    *((MlxAffine(bits, group), bits) for bits in (2, 4, 5, 8) for group in (32, 64)),
    (Bytewise("I8"), 8), (Bytewise("I8", (8, 64)), 8),
]  # fmt: skip


def tensors(layout: Any, bits: int, dtype: type) -> dict[str, Any]:
    """A matrix as the layout writes it, its scales as float32 of what the dtype holds."""
    random = np.random.default_rng(3)
    columns = getattr(layout, "group", 0) or COLUMNS
    groups = COLUMNS // columns
    codes = random.integers(0, 1 << bits, size=(ROWS, COLUMNS)).astype(np.uint8)
    zeros = random.integers(1, 1 << bits, size=(ROWS, groups)).astype(np.int16)
    parts = dict(layout.write(codes, None if isinstance(layout, MlxAffine) else zeros))
    scales = random.normal(size=(ROWS, groups)).astype(dtype).astype(np.float32)
    if isinstance(layout, Bytewise) and layout.block is not None:
        scales = scales[:1].repeat(ROWS // 8, 0).repeat(COLUMNS // 64, 1) * np.arange(1, 5, dtype=np.float32)
    if layout.scales.bases is not None:
        parts[layout.scales.bases] = random.normal(size=scales.shape).astype(dtype).astype(np.float32)
    parts[layout.scales.suffix] = np.ascontiguousarray(scales.T) if layout.scales.turned else scales
    return parts


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(("layout", "bits"), LAYOUTS, ids=str)
def test_codes_stand_for_the_same_numbers(layout: Any, bits: int, dtype: type) -> None:
    parts = tensors(layout, bits, dtype)
    expected = layout.read(parts, ROWS, COLUMNS)
    matrix = layout_matrix(layout, parts, ROWS, COLUMNS)
    assert matrix is not None and takes_layout(layout, COLUMNS, None)
    found = matrix.read(np.arange(ROWS)[::-1])
    assert found.grouping.codes is (Codes.FOURS if bits <= 4 else Codes.EIGHTS)
    assert np.allclose(found.values()[::-1], expected, rtol=0, atol=2.0**-22 * np.abs(expected).max())
    if isinstance(layout, Gptq | Awq):
        assert np.array_equal(found.values()[::-1], expected) or dtype is np.float32


def test_the_middle_as_every_zero_point_needs_no_bases_and_half_the_memory_for_scales() -> None:
    layout = Gptq(4, 64)
    parts = dict(layout.write(np.full((ROWS, COLUMNS), 9, np.uint8), None))
    parts[".scales"] = np.full((COLUMNS // 64, ROWS), 0.5, np.float32)
    matrix = layout_matrix(layout, parts, ROWS, COLUMNS)
    assert matrix is not None
    assert (matrix.grouping.based, matrix.grouping.wide, matrix.grouping.group) == (False, False, 64)
    parts[".scales"] = np.full((COLUMNS // 64, ROWS), 1 / 3, np.float32)
    matrix = layout_matrix(layout, parts, ROWS, COLUMNS)
    assert matrix is not None and matrix.grouping.wide


def test_what_the_kernels_lack_is_left_to_be_plain_numbers() -> None:
    layout = Gptq(4, 64)
    parts = tensors(layout, 4, np.float16)
    parts[GPTQ_ORDER] = parts[GPTQ_ORDER][::-1].copy()
    assert layout_matrix(layout, parts, ROWS, COLUMNS) is None
    assert not takes_layout(layout, COLUMNS, parts[GPTQ_ORDER])
    other = PackQuantized(4, 64)
    assert not takes_layout(other, COLUMNS, parts[GPTQ_ORDER])
    assert (
        layout_matrix(other, {**tensors(other, 4, np.float16), ORDER: parts[GPTQ_ORDER]}, ROWS, COLUMNS)
        is None
    )
    assert not takes_layout(Awq(24), 240, None)
    assert not takes_layout(Bytewise(), COLUMNS, None)
    assert layout_matrix(Bytewise(), {}, ROWS, COLUMNS) is None
