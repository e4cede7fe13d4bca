"""Packed weights, taken apart again in numpy by the layout that native/abi.h states."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.kernels import packed as packed_module
from llmkit.kernels.memory import Rows, ValueType
from llmkit.kernels.packed import PackedFormat, PackedWeight, pack, pack_below, packed_bytes
from tests.kernels.native.calls import matmul

pytestmark = pytest.mark.usefixtures("native")
SHAPES = [(1, 32), (16, 64), (33, 160), (5, 736)]


def unpack_integers(packed: PackedWeight) -> tuple[NDArray[Any], NDArray[Any]]:
    """Codes (rows, cols) and scales (rows, groups)."""
    bits = 8 if packed.packed_format is PackedFormat.INT8 else 4
    units = -(-packed.num_cols // 64)
    raw = packed.data.reshape(-1, units, 64 * 2 * bits + 64)
    scales = raw[:, :, -64:].copy().view(np.float16).reshape(-1, units, 2, 16)
    if bits == 8:
        codes = raw[:, :, :-64].reshape(-1, units, 16, 16, 4).transpose(0, 3, 1, 2, 4).astype(np.int16) - 128
    else:
        lines = raw[:, :, :-64].reshape(-1, units, 8, 16, 4)
        codes = np.stack([lines & 15, lines >> 4], 3).transpose(0, 4, 1, 2, 3, 5).astype(np.int16) - 8
    codes = codes.reshape(-1, units * 64)[: packed.num_rows, : packed.num_cols]
    return codes, scales.transpose(0, 3, 1, 2).reshape(-1, units * 2)[: packed.num_rows]


@pytest.mark.parametrize(("form", "bits"), [(PackedFormat.INT8, 8.5), (PackedFormat.INT4, 4.5)])
def test_integers_take_gguf_s_bits_a_weight(form: PackedFormat, bits: float) -> None:
    assert packed_bytes(form, 2048, 5632) * 8 == 2048 * 5632 * bits


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
@pytest.mark.parametrize(
    ("form", "name"), [(PackedFormat.INT8, "Q8_0"), (PackedFormat.INT4, "Q4_0")], ids=["int8", "int4"]
)
def test_weights_are_rounded_exactly_as_gguf_does(
    form: PackedFormat, name: str, rows: int, cols: int, random: np.random.Generator
) -> None:
    gguf = pytest.importorskip("gguf")
    weight = (random.normal(size=(rows, cols)) * random.choice([1e-6, 0.02, 1, 300], size=(rows, 1))).astype(
        np.float32
    )
    weight[0, :32] = 0
    blocks = gguf.quants.quantize(weight, getattr(gguf.GGMLQuantizationType, name))
    codes, scales = unpack_integers(pack(weight, form))
    halves = np.repeat(scales[:, : cols // 32].astype(np.float32), 32, 1)
    assert np.array_equal(
        codes * halves, gguf.quants.dequantize(blocks, getattr(gguf.GGMLQuantizationType, name))
    )


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
@pytest.mark.parametrize(
    ("name", "kind", "forms"),
    [
        ("Q8_0", ValueType.BLOCKS_Q8_0, [PackedFormat.INT8]),
        ("Q4_0", ValueType.BLOCKS_Q4_0, [PackedFormat.INT8, PackedFormat.INT4]),
    ],
)
def test_gguf_blocks_are_taken_as_they_are(
    name: str,
    kind: ValueType,
    forms: list[PackedFormat],
    rows: int,
    cols: int,
    random: np.random.Generator,
) -> None:
    gguf = pytest.importorskip("gguf")
    which = getattr(gguf.GGMLQuantizationType, name)
    blocks = gguf.quants.quantize(random.normal(size=(rows, cols)).astype(np.float32), which)
    for form in forms:
        codes, scales = unpack_integers(pack(Rows(blocks.ctypes.data, rows, cols, cols, kind, blocks), form))
        halves = np.repeat(scales[:, : cols // 32].astype(np.float32), 32, 1)
        assert np.array_equal(codes * halves, gguf.quants.dequantize(blocks, which))


@pytest.mark.parametrize("form", [PackedFormat.INT8, PackedFormat.INT4])
def test_codes_and_scales_come_back(form: PackedFormat, random: np.random.Generator) -> None:
    limit = 127 if form is PackedFormat.INT8 else 7
    codes = random.integers(-limit - 1, limit, size=(21, 71), endpoint=True).astype(np.int8)
    scales = random.normal(size=(21, 3)).astype(np.float16)
    found = unpack_integers(pack(codes, form, scales=scales))
    assert np.array_equal(found[0], codes)
    assert np.array_equal(found[1][:, :3], scales)
    assert not found[1][:, 3:].any()


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (17, 33), (40, 64)])
def test_floats_of_any_type_come_back(
    rows: int,
    cols: int,
    random: np.random.Generator,
    to_bf16: Callable[..., NDArray[np.uint16]],
    from_bf16: Callable[..., NDArray[np.float32]],
) -> None:
    values = random.normal(size=(rows, cols)).astype(np.float32)
    sources = {np.float32: values, np.float16: values.astype(np.float16), np.uint16: to_bf16(values)}
    for kind, source in sources.items():
        as_floats = from_bf16(source) if kind is np.uint16 else source.astype(np.float32)  # type: ignore[arg-type]
        packed = pack(source, PackedFormat.FLOAT32).data.view(np.float32).reshape(-1, cols, 16)
        assert np.array_equal(packed.transpose(0, 2, 1).reshape(-1, cols)[:rows], as_floats)
        halves = pack(source, PackedFormat.BFLOAT16).data.view(np.uint16).reshape(-1, (cols + 1) // 2, 16, 2)
        halves = halves.transpose(0, 2, 1, 3).reshape(halves.shape[0] * 16, -1)[:rows, :cols]
        assert np.array_equal(halves, to_bf16(as_floats))


def test_half_precision_edges_survive(random: np.random.Generator) -> None:
    every = np.arange(65_536, dtype=np.uint16).view(np.float16).reshape(64, 1024)
    every = np.where(np.isnan(every), np.float16(0), every)
    packed = pack(every, PackedFormat.FLOAT32).data.view(np.float32).reshape(-1, 1024, 16)
    assert np.array_equal(packed.transpose(0, 2, 1).reshape(64, 1024), every.astype(np.float32))


def test_scales_are_rounded_to_half_precision_as_numpy_does(random: np.random.Generator) -> None:
    steps = np.exp(random.uniform(np.log(1e-9), np.log(6e4), size=(64, 16))).astype(np.float32)
    weight = np.zeros((64, 16 * 32), np.float32)
    weight[:, ::32] = steps * 127
    _, scales = unpack_integers(pack(weight, PackedFormat.INT8))
    assert np.array_equal(scales, (weight[:, ::32] / np.float32(127)).astype(np.float16))


def test_rows_may_be_a_slice_of_a_larger_matrix(random: np.random.Generator) -> None:
    wide = random.normal(size=(20, 100)).astype(np.float32)
    for form in PackedFormat:
        whole = pack(wide[3:15, 32:96].copy(), form)
        assert np.array_equal(pack(wide[3:15, 32:96], form).data, whole.data)


def test_packed_bytes_can_be_kept_and_mapped_back(random: np.random.Generator) -> None:
    first = pack(random.normal(size=(20, 100)).astype(np.float32), PackedFormat.INT4)
    copy = np.zeros(first.data.size + 64, np.uint8)
    start = -copy.ctypes.data % 64
    copy[start : start + first.data.size] = first.data
    PackedWeight(PackedFormat.INT4, 20, 100, copy[start : start + first.data.size])
    with pytest.raises(ValueError, match="multiple of 64"):
        PackedWeight(PackedFormat.INT4, 20, 100, copy[start + 1 : start + 1 + first.data.size])
    with pytest.raises(ValueError, match="bytes, not"):
        PackedWeight(PackedFormat.INT4, 21, 164, first.data)


def test_kinds_that_do_not_go_together_are_refused(random: np.random.Generator) -> None:
    codes = np.zeros((4, 64), np.int8)
    with pytest.raises(ValueError, match="come with float16 scales"):
        pack(codes, PackedFormat.INT8)
    with pytest.raises(ValueError, match="come with float16 scales"):
        pack(codes, PackedFormat.INT8, scales=np.zeros((4, 3), np.float16))
    with pytest.raises(ValueError, match="only int8 codes"):
        pack(codes.astype(np.float32), PackedFormat.INT8, scales=np.zeros((4, 2), np.float16))
    with pytest.raises(ValueError, match="FLOAT32 is not packed from CODES8"):
        pack(codes, PackedFormat.FLOAT32, scales=np.zeros((4, 2), np.float16))
    with pytest.raises(ValueError, match="at least one row"):
        pack(np.empty((0, 5), np.float32), PackedFormat.FLOAT32)


@pytest.mark.parametrize("packed_format", PackedFormat)
@pytest.mark.parametrize("heights", [(33,), (16, 48, 5), (7, 20), (32, 16)])
def test_matrices_packed_piece_by_piece_are_those_packed_at_once(
    packed_format: PackedFormat, heights: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_module, "_PIECE_VALUES", 70 * 20)  # one block of rows at a time
    draw = np.random.default_rng(1)
    parts = [draw.standard_normal((height, 70), np.float32) for height in heights]
    seen: list[int] = []
    found = pack_below(parts, packed_format, lambda piece: seen.append(len(piece)))
    assert np.array_equal(found.data, pack(np.concatenate(parts), packed_format).data)
    assert sum(seen) == sum(heights) == found.num_rows
    assert max(seen) == 16 or heights == (7, 20)  # which do not begin with a block


@pytest.mark.parametrize("form", list(PackedFormat))
def test_what_rounds_its_inputs_says_so(form: PackedFormat) -> None:
    packed = pack(np.ones((3, 40), np.float32), form)
    x = np.zeros((2, 40), np.float32)
    x[:, 0], x[1, 1] = 1, 1 / 512  # less than half of a 127th, and a bfloat16 number
    without, beside = matmul(packed, x)
    assert packed.rounds_inputs == np.array_equal(without, beside)
