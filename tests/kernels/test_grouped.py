"""Products with codes as files keep them, against exact integer arithmetic on those codes; and rows back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.kernels.coded import TABLES, Coded, CodedMatrix, Codes, Grouping
from llmkit.kernels.grouped import pack_coded
from llmkit.kernels.packed import packed_bytes
from tests.kernels.native.calls import coded_row, matmul

pytestmark = pytest.mark.usefixtures("native")
UNIT = 2.0**-24
GROUPINGS = [
    Grouping(Codes.FOURS, 32),
    Grouping(Codes.FOURS, 128, based=True),
    Grouping(Codes.FOURS, 32, 256, based=True),
    Grouping(Codes.FOURS, 16, 256),
    Grouping(Codes.FOURS, 16, 256, based=True),
    Grouping(Codes.EIGHTS, 64, wide=True),
    Grouping(Codes.EIGHTS, 32, 256, based=True),
    Grouping(Codes.EIGHTS, 16, 256),
    Grouping(Codes.EIGHTS, 352, based=True, wide=True),
    Grouping(Codes.IQ4, 32, 256),
    Grouping(Codes.E2M1, 16),
]
NAMES = [
    f"{one.codes.name}-{one.group}-{one.span}{'-based' * one.based}{'-wide' * one.wide}" for one in GROUPINGS
]
NF4 = np.linspace(-1, 1, 16).astype(np.float32) ** 3  # any 16 numbers that no small whole ones stand for
WIDENED = [
    Grouping(Codes.FLOATS, 64, wide=True, head=NF4.tobytes()),
    Grouping(Codes.FLOATS, 24, head=NF4.tobytes()),
    Grouping(Codes.E4M3, 128, wide=True),
    Grouping(Codes.E4M3, 4096),
    *(
        Grouping(codes, 128, based=based, wide=wide, head=b"scattered")
        for codes in (Codes.FOURS, Codes.EIGHTS)
        for based, wide in ((False, False), (True, True))
    ),
]
SHAPES = [(1, 1), (17, 33), (50, 320), (130, 1100)]
BATCHES = [1, 2, 8, 12, 13, 25]


def scattered(grouping: Grouping, cols: int, random: np.random.Generator) -> Grouping:
    """With an order of its columns, where it is to have one."""
    if grouping.head != b"scattered":
        return grouping
    return replace(grouping, head=random.permutation(cols).astype(np.int32).tobytes())


def drawn(grouping: Grouping, rows: int, cols: int, random: np.random.Generator) -> Coded:
    """Codes of every kind, and scales of either sign."""
    most = 256 if grouping.codes in (Codes.EIGHTS, Codes.E4M3) else 16
    groups, spans = -(-cols // grouping.group), -(-cols // grouping.span) if grouping.span else 0

    def numbers(count: int) -> NDArray[Any]:
        return random.normal(size=(rows, count)).astype(grouping.float_type)

    def small() -> NDArray[Any]:
        if not grouping.span:
            return numbers(groups)
        return random.integers(-128, 128, size=(rows, groups)).astype(np.int8)

    codes = random.integers(0, most, size=(rows, cols)).astype(np.uint8)
    codes[0] = most - 1  # where a product of two could leave 16 bits
    if grouping.codes is Codes.E4M3:
        codes[codes & 127 == 127] = 126  # those are no numbers
    scales, bases = small(), small() if grouping.based else None
    factors = numbers(spans) if spans else None
    return Coded(
        grouping, codes, scales, bases, factors, numbers(spans) if spans and grouping.based else None
    )


def matrix(coded: Coded) -> CodedMatrix:
    def read(rows: NDArray[np.intp]) -> Coded:
        parts = (coded.codes, coded.scales, coded.bases, coded.factors, coded.base_factors)
        return Coded(coded.grouping, *(None if one is None else one[rows] for one in parts))  # type: ignore[arg-type]

    return CodedMatrix(coded.grouping, *coded.codes.shape, read)


def exact(coded: Coded, x: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The product with rounded activations, and what its rounding errors are a share of: each (B, R)."""
    (B, K), grouping = x.shape, coded.grouping
    padded = -(-K // 32) * 32
    groups = np.zeros((B, padded), np.float32)
    groups[:, :K] = x
    groups = groups.reshape(B, -1, 32)
    most = np.abs(groups).max(-1)
    inverse = np.divide(np.float32(127), most, out=np.zeros_like(most), where=most > 0)
    steps = np.rint(groups * inverse[..., None]).astype("f8")
    rounded = (steps * (most / np.float32(127)).astype("f8")[..., None]).reshape(B, -1)[:, :K]
    middle = 128 if grouping.codes is Codes.EIGHTS else 0 if grouping.based else 8
    table = TABLES.get(grouping.codes)
    codes = coded.codes.astype("f8") - middle if table is None else table[coded.codes].astype("f8")

    def spread(part: NDArray[Any], factors: NDArray[Any] | None) -> NDArray[np.float64]:
        wide = part.astype("f8").repeat(grouping.group, 1)[:, :K]
        return wide if factors is None else wide * factors.astype("f8").repeat(grouping.span, 1)[:, :K]

    scales = spread(coded.scales, coded.factors)
    bases = 0.0 if coded.bases is None else spread(coded.bases, coded.base_factors)
    product = rounded @ (codes * scales + bases).T
    pieces = np.arange(K) // (16 if grouping.group == 16 else 32)
    size = np.zeros_like(product)
    for piece in range(pieces[-1] + 1):  # within one the kernels add integers
        part = pieces == piece
        size += np.abs(rounded[:, part] @ (codes * scales)[:, part].T)
        if coded.bases is not None:
            size += np.abs(rounded[:, part] @ np.broadcast_to(bases, codes.shape)[:, part].T)
    return product, size


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
@pytest.mark.parametrize("grouping", GROUPINGS, ids=NAMES)
def test_products_are_exact_within_a_group_and_rounded_between_groups(
    grouping: Grouping, rows: int, cols: int, random: np.random.Generator
) -> None:
    coded = drawn(grouping, rows, cols, random)
    packed = pack_coded(matrix(coded))
    for batch in BATCHES:
        x = random.normal(size=(batch, cols)).astype(np.float32)
        product, size = exact(coded, x)
        pieces = -(-cols // 16) * 2
        assert (np.abs(matmul(packed, x) - product) <= (pieces + 5) * UNIT * size).all()


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
@pytest.mark.parametrize("grouping", WIDENED, ids=str)
def test_products_with_codes_of_floats_are_those_with_the_numbers_that_they_stand_for(
    grouping: Grouping, rows: int, cols: int, random: np.random.Generator
) -> None:
    coded = drawn(scattered(grouping, cols, random), rows, cols, random)
    values, packed = coded.values().astype("f8"), pack_coded(matrix(coded))
    for batch in (*BATCHES, 300):
        x = random.normal(size=(batch, cols)).astype(np.float32)
        expected, size = x.astype("f8") @ values.T, np.abs(x).astype("f8") @ np.abs(values).T
        assert (np.abs(matmul(packed, x) - expected) <= 2 * (cols + 2) * UNIT * size).all()


@pytest.mark.parametrize("grouping", [*GROUPINGS, *WIDENED], ids=str)
def test_a_row_is_the_same_to_the_bit_in_any_batch_and_on_any_threads(
    grouping: Grouping, random: np.random.Generator, same_on_any_threads: Callable[..., Any]
) -> None:
    packed = pack_coded(matrix(drawn(scattered(grouping, 608, random), 150, 608, random)))
    x = random.normal(size=(40, 608)).astype(np.float32)
    alone = np.concatenate([matmul(packed, x[row : row + 1]) for row in range(12)])
    for batch in (2, 5, 8, 12):
        assert np.array_equal(matmul(packed, x[:batch]), alone[:batch])
    for batch in (1, 8, 40):
        found = same_on_any_threads(lambda batch=batch: matmul(packed, x[:batch]))
        assert np.array_equal(found[:12], alone[:batch])


@pytest.mark.parametrize("grouping", [*GROUPINGS, *WIDENED], ids=str)
def test_what_rounds_its_inputs_says_so(grouping: Grouping, random: np.random.Generator) -> None:
    packed = pack_coded(matrix(drawn(scattered(grouping, 64, random), 37, 64, random)))
    x = np.zeros((2, 64), np.float32)
    x[:, 0], x[1, 1] = 1, 1 / 512  # less than half of a 127th
    without, beside = matmul(packed, x)
    assert packed.rounds_inputs == np.array_equal(without, beside)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("grouping", [*GROUPINGS, *WIDENED], ids=str)
def test_activations_that_are_no_finite_numbers_give_none(
    grouping: Grouping, wrong: float, random: np.random.Generator
) -> None:
    packed = pack_coded(matrix(drawn(scattered(grouping, 300, random), 37, 300, random)))
    x = random.normal(size=(3, 300)).astype(np.float32)
    x[1, 200] = wrong
    assert np.isfinite(matmul(packed, x)).all(1).tolist() == [True, False, True]
    assert not np.isfinite(matmul(packed, x)[1]).any()


@pytest.mark.parametrize("grouping", [*GROUPINGS, *WIDENED], ids=str)
def test_a_row_comes_back_as_its_numbers(grouping: Grouping, random: np.random.Generator) -> None:
    coded = drawn(scattered(grouping, 300, random), 37, 300, random)
    coded.codes[3, :16] = np.arange(112, 128) % (256 if grouping.codes is Codes.E4M3 else 16)  # one no number
    packed = pack_coded(matrix(coded))
    values = coded.values()
    assert all(np.array_equal(coded_row(packed, row), values[row], equal_nan=True) for row in range(37))
    assert np.isnan(values).any() == (grouping.codes is Codes.E4M3)


def test_a_matrix_that_is_packed_in_pieces_is_the_same_bytes(
    random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = matrix(drawn(GROUPINGS[2], 150, 256, random))
    expected = pack_coded(whole)
    monkeypatch.setattr("llmkit.kernels.grouped.PIECE_CODES", 256 * 40)
    assert np.array_equal(pack_coded(whole).data, expected.data)


@pytest.mark.parametrize(
    ("grouping", "bits"),
    [
        (Grouping(Codes.FOURS, 32), 4.5),
        (Grouping(Codes.FOURS, 128, based=True), 4.25),
        (Grouping(Codes.FOURS, 32, 256, based=True), 4.625),
        (Grouping(Codes.FOURS, 16, 256), 4.5625),
        (Grouping(Codes.EIGHTS, 16, 256), 8.5625),
        (Grouping(Codes.IQ4, 32, 256), 4.3125),
        (Grouping(Codes.E4M3, 128), 8.125),
    ],
)
def test_bits_of_a_weight_in_memory_are_those_that_are_told(grouping: Grouping, bits: float) -> None:
    assert packed_bytes(grouping, 2048, 8192) * 8 == 2048 * 8192 * bits


@pytest.mark.parametrize(
    ("grouping", "bits", "head"),
    [
        (Grouping(Codes.FLOATS, 64, wide=True, head=NF4.tobytes()), 4.5, 64),
        (Grouping(Codes.FOURS, 128, head=np.zeros(8192, np.int32).tobytes()), 4.125, 8192 * 4),
    ],
    ids=["floats", "scattered"],
)
def test_what_all_rows_share_is_kept_once(grouping: Grouping, bits: float, head: int) -> None:
    assert packed_bytes(grouping, 2048, 8192) == 2048 * 8192 * bits / 8 + head
