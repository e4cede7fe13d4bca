"""Quantised matrices of safetensors files as codes: the numbers that each layout's own reader gives."""

import json
from typing import Any

import numpy as np
import pytest

from llmkit.formats.bytewise import Bytewise
from llmkit.formats.quantised import bnb_4bit
from llmkit.formats.quantised.awq import Awq
from llmkit.formats.quantised.bnb_4bit import Bnb4Bit
from llmkit.formats.quantised.compressed_tensors import ORDER, PackQuantized
from llmkit.formats.quantised.gptq import ORDER as GPTQ_ORDER
from llmkit.formats.quantised.gptq import Gptq
from llmkit.formats.quantised.mlx_affine import MlxAffine
from llmkit.kernels.coded import Coded, Codes
from llmkit.kernels.coded_layouts import TELLING, layout_matrix, takes_layout, widened_key

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
    assert (
        matrix is not None and takes_layout(layout, COLUMNS, {}) and widened_key(layout, COLUMNS, {}) is None
    )
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


def exactly(layout: Any, parts: dict[str, Any], columns: int = COLUMNS) -> Coded:
    """The matrix's rows, which stand for what the layout's own reader gives, to the bit."""
    matrix, told = (
        layout_matrix(layout, parts, ROWS, columns),
        {name: parts[name] for name in TELLING if name in parts},
    )
    assert matrix is not None and takes_layout(layout, columns, told) and widened_key(layout, columns, told)
    found = matrix.read(np.arange(ROWS)[::-1])
    assert found.grouping.is_widened
    assert np.array_equal(found.values()[::-1], layout.read(parts, ROWS, columns))
    return found


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("layout", [Gptq, PackQuantized], ids=["gptq", "pack-quantized"])
def test_groups_in_any_order_stand_for_the_same_numbers(layout: Any, bits: int) -> None:
    suffix = GPTQ_ORDER if layout is Gptq else ORDER
    order = np.random.default_rng(1).permutation(np.arange(COLUMNS) // 64).astype(np.int32)
    one = layout(bits, 64)
    parts = tensors(one, bits, np.float16) | {suffix: order}
    assert exactly(one, parts).grouping.head == order.argsort(kind="stable").astype(np.int32).tobytes()
    inside = np.arange(COLUMNS, dtype=np.int32) // 64
    assert widened_key(one, COLUMNS, {suffix: inside}) is None and takes_layout(
        one, COLUMNS, {suffix: inside}
    )
    for beyond in (order + 1, order - 1, order[:-1]):
        assert not takes_layout(one, COLUMNS, {suffix: beyond})


@pytest.mark.parametrize("shape", [(1,), (ROWS, 1), (4, 2)], ids=["tensor", "channel", "block"])
def test_float8_stands_for_the_same_numbers(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(2)
    codes = random.integers(0, 256, (ROWS, COLUMNS)).astype(np.uint8)
    codes[codes & 127 == 127] = 0  # those are no numbers
    layout = Bytewise(block=(8, 128) if shape == (4, 2) else None)
    parts = {".weight": codes, ".weight_scale": random.normal(size=shape).astype(np.float32)}
    assert exactly(layout, parts).scales.shape == (ROWS, 2 if shape == (4, 2) else 1)
    middle = {".weight_zero_point": np.ones(shape, np.uint8)}
    assert not takes_layout(layout, COLUMNS, middle)
    assert takes_layout(layout, COLUMNS, {name: 0 * part for name, part in middle.items()})


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("columns", [256, 96])
def test_tables_of_floats_stand_for_the_same_numbers_where_blocks_run_on_over_rows(
    columns: int, nested: bool
) -> None:
    random, blocks = np.random.default_rng(3), ROWS * columns // 64
    state = {"shape": [ROWS, columns], "blocksize": 64, "nested_blocksize": 8, "nested_offset": 0.125}
    parts: dict[str, Any] = {
        bnb_4bit.CODES: random.integers(0, 256, (ROWS * columns // 2, 1)).astype(np.uint8),
        bnb_4bit.TABLE: bnb_4bit.NF4,
        bnb_4bit.ABSMAX: random.random(blocks).astype(np.float32),
        bnb_4bit.STATES[0]: np.frombuffer(json.dumps(state).encode(), np.uint8),
    }
    if nested:
        parts[bnb_4bit.ABSMAX] = random.integers(0, 256, blocks).astype(np.uint8)
        parts[bnb_4bit.NESTED_TABLE] = random.random(256).astype(np.float32)
        parts[bnb_4bit.NESTED_ABSMAX] = random.random(-(-blocks // 8)).astype(np.float32)
    assert exactly(Bnb4Bit(), parts, columns).grouping.group == (64 if columns == 256 else 32)
    state["shape"] = [ROWS, 72]
    told = {bnb_4bit.STATES[0]: np.frombuffer(json.dumps(state).encode(), np.uint8)}
    assert not takes_layout(Bnb4Bit(), 72, told)


def test_what_the_kernels_lack_is_left_to_be_plain_numbers() -> None:
    assert not takes_layout(Awq(24), 240, {})
    assert not takes_layout(Gptq(4, 24), 240, {})
