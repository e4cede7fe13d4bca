"""Every type against llama.cpp's own Python package and ggml itself, bit for bit; and what is refused."""

from types import ModuleType

import numpy as np
import pytest
from ggml_values import ggml_values

from llmkit.errors import DataError
from llmkit.formats.gguf.blocks import LAYOUTS, dequantise, quantise, stored_nbytes
from llmkit.formats.gguf.types import GGML_TYPES

WRITTEN = ("F32", "F16", "BF16", "Q8_0")
IN_THE_PACKAGE = sorted(set(LAYOUTS) - {"F64", "Q1_0", "Q2_0"})
IN_GGML = sorted(set(LAYOUTS) - {"F32", "F64"})


@pytest.fixture(scope="module")
def gguf() -> ModuleType:
    return pytest.importorskip("gguf", reason="the gguf package, which is compared with, is not installed")


def random_bytes(type_name: str, blocks: int) -> np.ndarray:
    content = np.random.default_rng(1).integers(0, 256, blocks * GGML_TYPES[type_name].nbytes)
    return content.astype(np.uint8)


def with_finite_scales(raw: np.ndarray, type_name: str) -> np.ndarray:
    """Random float16 scales, some tiny; everything else as it was."""
    blocks = raw.view(LAYOUTS[type_name])
    exponents = np.random.default_rng(2).uniform(-22, 6, len(blocks))
    for name in {"d", "dmin", "m"} & set(blocks.dtype.names or ()):
        if blocks.dtype[name] == np.float16:
            blocks[name] = np.exp2(exponents) * np.where(np.arange(len(blocks)) % 3, 1, -1)
    if type_name == "IQ1_M":  # its float16 is spread over four words: the uppermost bit of its exponent
        blocks["scales"][:, 3] &= 0xBFFF
    return raw


def theirs(gguf: ModuleType, raw: np.ndarray, type_name: str) -> np.ndarray:
    rows = raw.reshape(-1, GGML_TYPES[type_name].nbytes)
    with np.errstate(all="ignore"):
        values = gguf.quants.dequantize(rows, gguf.GGMLQuantizationType[type_name])
    return values.reshape(-1).astype(np.float32)


def test_a_layout_is_as_long_as_a_block() -> None:
    assert {name: layout.itemsize for name, layout in LAYOUTS.items()} == {
        name: GGML_TYPES[name].nbytes for name in LAYOUTS
    }


@pytest.mark.parametrize("type_name", IN_THE_PACKAGE)
def test_values_are_those_of_llama_cpp_bit_for_bit(gguf: ModuleType, type_name: str) -> None:
    kind = GGML_TYPES[type_name]
    raw = with_finite_scales(random_bytes(type_name, 999), type_name)
    ours = dequantise(raw, type_name, (999 * kind.values,))
    expected = theirs(gguf, raw, type_name)
    number = ~np.isnan(expected)  # a plain type has random bits, so some are none
    assert np.array_equal(ours.view(np.uint32)[number], expected.view(np.uint32)[number])
    assert np.isnan(ours[~number]).all()
    assert number.all() or type_name in ("F32", "F16", "BF16")


@pytest.mark.parametrize("type_name", IN_GGML)
def test_values_are_those_of_ggml_itself(type_name: str) -> None:
    kind = GGML_TYPES[type_name]
    raw = random_bytes(type_name, 999)
    ours = dequantise(raw, type_name, (999 * kind.values,))
    expected = ggml_values(kind.number, raw, ours.size)
    number = ~np.isnan(expected)
    assert np.array_equal(ours.view(np.uint32)[number], expected.view(np.uint32)[number])
    assert np.isnan(ours[~number]).all() and number.any()


@pytest.mark.parametrize("type_name", IN_THE_PACKAGE)
def test_scales_that_are_no_numbers_give_what_llama_cpp_gives(gguf: ModuleType, type_name: str) -> None:
    raw = random_bytes(type_name, 999)
    ours = dequantise(raw, type_name, (999, GGML_TYPES[type_name].values)).reshape(-1)
    assert np.array_equal(ours, theirs(gguf, raw, type_name), equal_nan=True)


def test_float64_is_rounded_to_float32() -> None:
    values = np.array([1 / 3, -1e-320, np.inf])
    assert np.array_equal(dequantise(values.tobytes(), "F64", (3,)), np.float32([1 / 3, -0.0, np.inf]))


@pytest.mark.parametrize("type_name", WRITTEN)
def test_bytes_are_those_of_llama_cpp(gguf: ModuleType, type_name: str) -> None:
    generator = np.random.default_rng(5)
    values = generator.standard_normal((500, 32)).astype(np.float32)
    values *= np.exp2(generator.uniform(-30, 13, (500, 1))).astype(np.float32)
    values[0] = 0
    values[1] = np.arange(-127, 129, 8)
    values[2] = np.arange(-16, 16) + 0.5  # halves
    values[2, 0] = 127
    expected = gguf.quants.quantize(values, gguf.GGMLQuantizationType[type_name])
    assert quantise(values, type_name).tobytes() == expected.tobytes()


@pytest.mark.parametrize("type_name", WRITTEN)
def test_what_was_written_and_read_is_written_the_same_again(type_name: str) -> None:
    values = np.random.default_rng(6).standard_normal((3, 2, 64)).astype(np.float64)
    stored = quantise(values, type_name)
    assert stored.nbytes == stored_nbytes(type_name, values.shape)
    read = dequantise(stored, type_name, values.shape)
    assert read.shape == values.shape
    assert np.array_equal(quantise(read, type_name), stored)


def test_a_long_tensor_is_the_sum_of_its_blocks() -> None:
    """More than one step of the loop, and a last one that is not full."""
    raw = with_finite_scales(random_bytes("Q6_K", 700), "Q6_K")
    whole = dequantise(raw, "Q6_K", (7, 100, 256))
    alone = [dequantise(raw[k * 210 : k * 210 + 210], "Q6_K", (256,)) for k in range(700)]
    assert np.array_equal(whole.reshape(700, 256), alone)
    values = np.random.default_rng(8).standard_normal((70_001, 1)).astype(np.float32)
    assert np.array_equal(quantise(values, "F16").view(np.float16), values[:, 0].astype(np.float16))


@pytest.mark.parametrize(
    "raw", [bytes(34), bytearray(34), memoryview(bytes(34)), np.zeros((2, 17), np.uint8)]
)
def test_bytes_of_every_kind_are_read(raw: bytes) -> None:
    assert dequantise(raw, "Q8_0", (32,)).tolist() == [0] * 32


def test_a_tensor_without_values_or_without_dimensions_is_read() -> None:
    assert dequantise(b"", "Q4_K", (0, 256)).shape == (0, 256)
    assert dequantise(b"\0\0\x80\x3f", "F32", ()) == 1
    assert quantise(np.empty((0, 32), np.float32), "Q8_0").size == 0


@pytest.mark.parametrize("type_name", ["Q8_1", "I8", "I32", "Q8_K", "Q9_9"])
def test_a_type_that_is_not_read_is_named(type_name: str) -> None:
    with pytest.raises(DataError, match=f"type {type_name} is not read"):
        dequantise(b"", type_name, (256,))


def test_a_type_that_is_not_written_is_named() -> None:
    with pytest.raises(DataError, match="type Q4_K is not written"):
        quantise(np.zeros(256, np.float32), "Q4_K")


def test_a_row_that_does_not_fill_blocks_is_refused() -> None:
    with pytest.raises(DataError, match="a row of 33 does not fill blocks of Q8_0"):
        quantise(np.zeros((32, 33), np.float32), "Q8_0")
    with pytest.raises(DataError, match="a row of 128 does not fill blocks of Q4_K"):
        dequantise(bytes(144), "Q4_K", (2, 128))


@pytest.mark.parametrize("length", [0, 33, 35, 68])
def test_too_few_or_too_many_bytes_are_refused(length: int) -> None:
    with pytest.raises(DataError, match=rf"{length} bytes where \(1, 32\) in Q8_0 takes 34"):
        dequantise(bytes(length), "Q8_0", (1, 32))


def test_a_shape_beyond_all_memory_is_refused_before_it_is_made() -> None:
    with pytest.raises(DataError, match="0 bytes where"):
        dequantise(b"", "F32", (1 << 40, 1 << 40))


def test_an_array_that_is_not_of_bytes_is_a_bug() -> None:
    with pytest.raises(ValueError, match="an array of float32"):
        dequantise(np.zeros(34, np.float32), "Q8_0", (32,))
