"""Plain numbers: torch's own rounding to bfloat16 and float16, and the ends of the ranges."""

import numpy as np
import pytest
import torch

from llmkit.errors import DataError
from llmkit.formats.gguf.plain import narrowed, read_bf16, read_float, write_bf16, write_f16, write_f32


def every_upper_half(lower: int) -> np.ndarray:
    """Float32 numbers of all signs, exponents and upper fractions, with the same lower 16 bits."""
    return ((np.arange(1 << 16, dtype=np.uint32) << 16) | np.uint32(lower)).view(np.float32)


def largest_rounds_up(values: np.ndarray) -> np.ndarray:
    return np.isfinite(values) & (np.abs(values) > torch.finfo(torch.bfloat16).max)


@pytest.mark.parametrize("lower", [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
def test_bfloat16_is_rounded_as_torch_rounds(lower: int) -> None:
    values = every_upper_half(lower)
    values = values[~(largest_rounds_up(values) & (lower >= 0x8000))]
    ours = write_bf16(values)
    theirs = torch.from_numpy(values).to(torch.bfloat16)
    number = ~np.isnan(values)
    assert np.array_equal(ours[number], theirs.view(torch.int16).numpy().view(np.uint16)[number])
    assert np.isnan(read_bf16(ours)[~number]).all()


def test_reading_bfloat16_changes_no_number() -> None:
    stored = np.arange(1 << 16, dtype=np.uint16)
    theirs = torch.from_numpy(stored.view(np.int16)).view(torch.bfloat16).to(torch.float32).numpy()
    assert np.array_equal(read_bf16(stored), theirs, equal_nan=True)


def test_a_nan_stays_a_nan_even_where_its_bits_are_all_low() -> None:
    lowest = np.array([0x7F800001, 0xFFFFFFFF], dtype=np.uint32).view(np.float32)
    assert write_bf16(lowest).tolist() == [0x7FC0, 0xFFFF]


def test_float16_is_rounded_as_torch_rounds() -> None:
    values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    values = np.concatenate([values, values * np.float32(1e-7), np.float32([65504, 65519, -0.0, np.inf])])
    theirs = torch.from_numpy(values).to(torch.float16).numpy()
    assert np.array_equal(write_f16(values).view(np.uint16), theirs.view(np.uint16))


def test_float32_is_not_changed() -> None:
    values = np.float32([1.5, -0.0, np.inf])
    assert write_f32(values).tobytes() == values.tobytes() == read_float(values).tobytes()


def test_a_finite_number_never_becomes_infinite() -> None:
    with pytest.raises(DataError, match=r"the value 65520 is beyond F16"):
        write_f16(np.float32([1, -65520, np.inf]))
    with pytest.raises(DataError, match="beyond BF16"):
        write_bf16(np.float32([np.finfo(np.float32).max]))
    with pytest.raises(DataError, match=r"1e\+300 is beyond float32"):
        read_float(np.array([1e300]))
    with pytest.raises(DataError, match="beyond float16"):
        narrowed(np.float32([1e5]), np.dtype(np.float16), "float16")
