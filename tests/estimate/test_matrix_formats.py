"""Bytes of one matrix by format: the arrays that each tool writes, counted one by one."""

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.matrix_formats import (
    Awq,
    BnbInt8,
    Bytewise,
    Fp8,
    Gptq,
    MatrixFormat,
    MicroScaled,
    Mlx,
    Nf4,
    Packed,
    Pieces,
)

O, I = 320, 512  # noqa: E741


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("group", [32, 128])
def test_packed_words_are_dense(bits: int, group: int) -> None:
    # 32 numbers take exactly `bits` words; zero points are packed along the other side
    packed = O * (I // 32) * bits * 4
    scales, zeros = O * (I // group) * 2, (O // 32) * bits * 4 * (I // group)
    assert Packed(bits, group).pieces(O, I) == Pieces(packed, scales, 0, 16)
    assert Packed(bits, group, symmetric=False).pieces(O, I) == Pieces(packed, scales, zeros, 16)


def test_a_packed_row_ends_with_a_whole_word() -> None:
    assert Packed(3, None).pieces(1, 11) == Pieces(8, 2, 0, 16)  # 33 bits
    assert Packed(4, None, symmetric=False).pieces(9, 8) == Pieces(36, 18, 8, 16)  # 36 bits of zero points


def test_an_order_of_columns_is_an_int32_each() -> None:
    assert Packed(4, 128, ordered=True).pieces(O, I).index_bytes == 16 + 4 * I


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq_is_words_along_the_inputs_and_zero_points_along_the_outputs(bits: int) -> None:
    qweight, qzeros = (I * bits // 32) * O * 4, (I // 128) * (O * bits // 32) * 4
    assert Gptq(bits, 128).pieces(O, I) == Pieces(qweight, (I // 128) * O * 2, qzeros, 4 * I)


def test_gptq_has_a_last_group_that_is_not_full() -> None:
    assert Gptq(4, 128).pieces(32, 160) == Pieces(32 * 80, 2 * 32 * 2, 2 * 16, 4 * 160)
    assert Gptq(4, None).pieces(32, 160).scales == 32 * 2


def test_awq_is_eight_outputs_to_a_word() -> None:
    assert Awq(128).pieces(O, I) == Pieces(I * (O // 8) * 4, 4 * O * 2, 4 * (O // 8) * 4)


@pytest.mark.parametrize(
    ("bits", "group"), [(bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64)]
)
def test_mlx_has_a_scale_and_a_bias_for_each_group(bits: int, group: int) -> None:
    groups = O * I // group
    assert Mlx(bits, group).pieces(O, I) == Pieces(O * (I * bits // 32) * 4, 2 * groups, 2 * groups)


def test_mlx_leaves_a_row_that_groups_do_not_divide() -> None:
    assert Mlx(4, 64).pieces(10, 96) is None
    assert Mlx(4, 32).pieces(10, 96) is not None


def test_mlx_modes_have_scales_of_a_byte() -> None:
    assert Mlx(4, 32, "mxfp4").pieces(O, I) == Pieces(O * I // 2, O * I // 32)


def test_nf4_has_scales_for_64_numbers_and_scales_of_scales_for_256() -> None:
    blocks = O * I // 64
    assert Nf4().pieces(O, I) == Pieces(O * I // 2, blocks + 4 * (blocks // 256), 0, 4 * (16 + 256))
    assert Nf4(double=False).pieces(O, I) == Pieces(O * I // 2, 4 * blocks, 0, 4 * 16)
    assert Nf4().pieces(1, 65) == Pieces(33, 2 + 4, 0, 4 * (16 + 256))


@pytest.mark.parametrize(
    ("matrix_format", "pieces"),
    [
        (BnbInt8(), Pieces(O * I, 4 * O, 0, 1)),
        (Fp8(), Pieces(O * I, 4 * 3 * 4)),  # 320 rows are three blocks of 128
        (Fp8(None), Pieces(O * I, 4)),
        (Fp8(None, input_scale=True), Pieces(O * I, 8)),
        (Bytewise("int8"), Pieces(O * I, 2 * O)),
        (Bytewise("int8", "tensor", symmetric=False), Pieces(O * I, 2, 1)),
        (Bytewise("fp8", "tensor", input_scale=True), Pieces(O * I, 4)),
        (Bytewise("fp8", (128, 128)), Pieces(O * I, 2 * 3 * 4)),
        (Bytewise("int8", 64), Pieces(O * I, 2 * O * 8)),
        (MicroScaled("mxfp4", 32), Pieces(O * I // 2, O * I // 32)),
        (MicroScaled("nvfp4", 16, globals=2), Pieces(O * I // 2, O * I // 16 + 8)),
    ],
)
def test_scales_are_as_many_and_as_wide_as_the_format_says(
    matrix_format: MatrixFormat, pieces: Pieces
) -> None:
    assert matrix_format.pieces(O, I) == pieces


@pytest.mark.parametrize("matrix_format", [Packed(4, 128), Awq(128), MicroScaled("nvfp4", 128)])
def test_groups_that_do_not_divide_a_row_are_refused(matrix_format: MatrixFormat) -> None:
    with pytest.raises(ConfigError, match="groups of 128 do not divide a row of 96"):
        matrix_format.pieces(64, 96)


@pytest.mark.parametrize("matrix_format", [Gptq(4), Awq(32)])
def test_shapes_that_do_not_pack_are_refused(matrix_format: MatrixFormat) -> None:
    with pytest.raises(ConfigError, match="cannot hold a matrix of 128 inputs and 4 outputs"):
        matrix_format.pieces(4, 128)


def test_codes_are_called_what_they_are() -> None:
    formats = (Packed(3), Gptq(4), Awq(), Mlx(6, 64), Mlx(4, 32, "mxfp4"), Nf4(), BnbInt8(), Fp8())
    assert [one.codes_name for one in formats] == [
        "int3",
        "int4",
        "int4",
        "int6",
        "mxfp4",
        "nf4",
        "int8",
        "fp8",
    ]
