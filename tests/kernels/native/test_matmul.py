"""The products against float64, and against exact integer arithmetic on the codes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.kernels.library import level
from llmkit.kernels.memory import Rows, ValueType
from llmkit.kernels.packed import PackedFormat, pack
from tests.kernels.native.calls import matmul

pytestmark = pytest.mark.usefixtures("native")
UNIT = 2.0**-24
SHAPES = [(1, 1), (3, 2), (16, 64), (17, 33), (50, 31), (48, 128), (33, 700), (130, 1100)]
BATCHES = [1, 2, 3, 5, 8, 9, 12, 13, 16, 17, 25, 61]
Convert = Callable[[NDArray[Any]], NDArray[Any]]


def normal(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return random.normal(size=shape).astype(np.float32)


def quantised(x: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Activations as the kernels round them: codes (B, G, 32) and scales (B, G), exact in float64."""
    B, K = x.shape
    groups = np.zeros((B, -(-K // 32) * 32), np.float32)
    groups[:, :K] = x
    groups = groups.reshape(B, -1, 32)
    most = np.abs(groups).max(-1)
    inverse = np.divide(np.float32(127), most, out=np.zeros_like(most), where=most > 0)
    codes = np.rint(groups * inverse[..., None])
    return codes.astype(np.float64), (most / np.float32(127)).astype(np.float64)


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_float32_is_the_product_within_its_rounding(
    rows: int, cols: int, random: np.random.Generator
) -> None:
    weight = normal(random, rows, cols)
    packed = pack(weight, PackedFormat.FLOAT32)
    for batch in BATCHES:
        x = normal(random, batch, cols)
        bound = (cols + 1) * UNIT * (np.abs(x).astype("f8") @ np.abs(weight).T.astype("f8"))
        assert (np.abs(matmul(packed, x) - x.astype("f8") @ weight.T.astype("f8")) <= bound).all()


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_bfloat16_is_the_product_of_rounded_weights(
    rows: int, cols: int, random: np.random.Generator, to_bf16: Convert, from_bf16: Convert
) -> None:
    weight = normal(random, rows, cols)
    packed, rounded = pack(weight, PackedFormat.BFLOAT16), from_bf16(to_bf16(weight)).astype("f8")
    for batch in BATCHES:
        x = normal(random, batch, cols)
        seen = from_bf16(to_bf16(x)) if level() == "avx512bf16" else x  # its instruction multiplies bfloat16
        bound = (cols + 2) * UNIT * (np.abs(seen).astype("f8") @ np.abs(rounded).T)
        assert (np.abs(matmul(packed, x) - seen.astype("f8") @ rounded.T) <= bound).all()


@pytest.mark.parametrize("form", [PackedFormat.INT8, PackedFormat.INT4])
@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_integers_are_exact_within_a_group_of_32(
    form: PackedFormat, rows: int, cols: int, random: np.random.Generator
) -> None:
    low, high = (-128, 127) if form is PackedFormat.INT8 else (-8, 7)
    codes = random.integers(low, high, size=(rows, cols), endpoint=True).astype(np.int8)
    codes[0] = low  # where a product of two could leave 16 bits
    groups = -(-cols // 32)
    scales = normal(random, rows, groups).astype(np.float16)
    packed = pack(codes, form, scales=scales)
    padded = np.zeros((rows, groups * 32))
    padded[:, :cols] = codes
    for batch in BATCHES:
        x = normal(random, batch, cols)
        x[:, -1] = 3 + np.abs(x[:, -1])
        x_codes, x_scales = quantised(x)
        dots = np.einsum("bgk,ngk->bng", x_codes, padded.reshape(rows, groups, 32))
        terms = dots * scales.astype("f8") * x_scales[:, None]
        bound = (groups + 3) * UNIT * np.abs(terms).sum(-1)
        assert (np.abs(matmul(packed, x) - terms.sum(-1)) <= bound).all()


@pytest.mark.parametrize("form", list(PackedFormat))
def test_a_row_is_the_same_to_the_bit_in_any_batch(form: PackedFormat, random: np.random.Generator) -> None:
    packed = pack(normal(random, 70, 1090), form)
    x = normal(random, 970, 1090)
    alone = np.concatenate([matmul(packed, x[i : i + 1]) for i in range(30)])
    for batch in (2, 3, 5, 7, 8, 9, 12, 16, 17, 24, 30):
        assert np.array_equal(matmul(packed, x[:batch]), alone[:batch])
    assert np.array_equal(matmul(packed, x)[:30], alone)


@pytest.mark.parametrize("form", list(PackedFormat))
@pytest.mark.parametrize("batch", [1, 8, 40])
def test_the_number_of_threads_changes_no_bit(
    form: PackedFormat, batch: int, random: np.random.Generator, same_on_any_threads: Callable[..., Any]
) -> None:
    packed, x = pack(normal(random, 333, 600), form), normal(random, batch, 600)
    same_on_any_threads(lambda: matmul(packed, x))


@pytest.mark.parametrize("form", list(PackedFormat))
@pytest.mark.parametrize("batch", [1, 6, 40])
def test_bias_and_what_out_held_are_added(
    form: PackedFormat, batch: int, random: np.random.Generator
) -> None:
    packed, x = pack(normal(random, 45, 700), form), normal(random, batch, 700)
    bias, held = normal(random, 45), normal(random, batch, 45)
    plain = matmul(packed, x).astype("f8")
    assert np.allclose(matmul(packed, x, bias=bias), plain + bias, rtol=0, atol=1e-3)
    out = held.copy()
    assert matmul(packed, x, bias=bias, out=out, accumulate=True) is out
    assert np.allclose(out, plain + bias + held, rtol=0, atol=1e-3)


@pytest.mark.parametrize("form", list(PackedFormat))
def test_bfloat16_activations_count_as_their_values(
    form: PackedFormat, random: np.random.Generator, to_bf16: Convert, from_bf16: Convert
) -> None:
    packed, bits = pack(normal(random, 20, 75), form), to_bf16(normal(random, 5, 75))
    assert np.array_equal(matmul(packed, bits), matmul(packed, from_bf16(bits)))


@pytest.mark.parametrize("form", list(PackedFormat))
def test_rows_may_stand_apart_and_nothing_between_them_is_touched(
    form: PackedFormat, random: np.random.Generator
) -> None:
    packed, wide = pack(normal(random, 20, 75), form), normal(random, 9, 100)
    out = np.full((9, 33), 7, np.float32)
    matmul(packed, wide[:, :75], out=out[:, :20])
    assert np.array_equal(out[:, :20], matmul(packed, wide[:, :75].copy()))
    assert (out[:, 20:] == 7).all()


def test_a_torch_tensor_is_rows_at_its_address(random: np.random.Generator) -> None:
    import torch

    weight, x = torch.randn(40, 64), torch.randn(3, 64)
    rows = Rows(x.data_ptr(), *x.shape, x.stride(0), ValueType.FLOAT32, x)
    packed = pack(Rows(weight.data_ptr(), 40, 64, 64, ValueType.FLOAT32, weight), PackedFormat.FLOAT32)
    assert torch.allclose(
        torch.from_numpy(matmul(packed, rows)), torch.nn.functional.linear(x, weight), atol=1e-5
    )


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", list(PackedFormat))
def test_what_is_no_finite_number_gives_none_and_the_rest_is_as_before(
    form: PackedFormat, wrong: float, random: np.random.Generator
) -> None:
    weight, x = normal(random, 20, 130), normal(random, 3, 130)
    before = matmul(pack(weight, form), x)
    x[1, 70] = weight[5, 100] = wrong
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(x.astype("f8") @ weight.T.astype("f8"))
    assert finite.sum() == 2 * 19
    found = matmul(pack(weight, form), x)
    assert np.array_equal(np.isfinite(found), finite)
    assert np.array_equal(found[finite], before[finite])


@pytest.mark.parametrize("form", list(PackedFormat))
def test_numbers_whose_inverse_is_none_count_as_no_more_than_they_are(
    form: PackedFormat, random: np.random.Generator
) -> None:
    weight = normal(random, 20, 130)
    for least in (1e-44, 1e-38, 1e-31):
        x = np.full((1, 130), least, np.float32)
        most = 1.01 * (x.astype("f8") @ np.abs(weight).T.astype("f8"))
        assert (np.abs(matmul(pack(weight, form), x)) <= most).all()
        assert (np.abs(matmul(pack(np.repeat(x, 16, 0), form), weight)) <= 1.01 * most.T).all()


def test_zeros_and_nothing_at_all_are_fine(random: np.random.Generator) -> None:
    for form in PackedFormat:
        packed = pack(np.zeros((5, 40), np.float32), form)
        assert not matmul(packed, np.zeros((3, 40), np.float32)).any()
        assert matmul(packed, np.empty((0, 40), np.float32)).shape == (0, 5)
