"""Codes found with their steps beside nearest codes of given steps; blocks beside the writers in numpy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.formats.gguf import simple_write as ggml_simple_write
from llmkit.formats.gguf.simple import IQ4_VALUES
from llmkit.kernels.encode import block_bytes, encode
from llmkit.kernels.quantise import GroupValues, nearest_codes

pytestmark = pytest.mark.usefixtures("native")

TABLES = {
    **{"Q4_0": np.arange(-8, 8, dtype=np.float32), "Q4_1": np.arange(16, dtype=np.float32)},
    **{"Q8_0": np.arange(-127, 128, dtype=np.float32), "IQ4_NL": np.asarray(IQ4_VALUES, np.float32)},
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("width", [32, 7, 40])
@pytest.mark.parametrize("weighed", [False, True])
def test_codes_are_those_of_the_nearest_values_of_half_precision_steps(
    name: str, width: int, weighed: bool, random: np.random.Generator
) -> None:
    weight = random.standard_normal((50, width)).astype(np.float32)
    weight[3] = 0
    weight[4] *= 1e-6  # steps below the smallest normal half
    counts = random.random((2, width)).astype(np.float32) if weighed else None
    step, base, codes = encode(weight, counts, TABLES[name], 9, with_base=name == "Q4_1")
    assert (base is not None) == (name == "Q4_1")
    for one in (step, *([] if base is None else [base])):
        assert np.array_equal(one, one.astype(np.float16).astype(np.float32))
    apart = None if base is None else base[:, None]
    nearest = nearest_codes(weight, GroupValues(step[:, None], TABLES[name], apart, width))
    assert (codes != nearest).mean() < 1e-3  # halfway between two values
    assert codes[0].tolist() == nearest[0].tolist()


def test_halves_are_coded_as_the_floats_that_they_are(
    random: np.random.Generator,
    to_bf16: Callable[[NDArray[Any]], NDArray[np.uint16]],
    from_bf16: Callable[[NDArray[np.uint16]], NDArray[np.float32]],
) -> None:
    bits = to_bf16(random.standard_normal((20, 32)))
    for ours, theirs in zip(
        encode(bits, None, TABLES["Q4_0"], 9, with_base=False),
        encode(from_bf16(bits), None, TABLES["Q4_0"], 9, with_base=False),
        strict=True,
    ):
        if ours is None or theirs is None:
            assert ours is theirs
        else:
            assert np.array_equal(ours, theirs)


def test_encoding_is_the_same_on_any_number_of_threads(
    random: np.random.Generator, same_on_any_threads: Callable[[Callable[[], Any]], Any]
) -> None:
    weight = random.standard_normal((2049, 32)).astype(np.float32)
    same_on_any_threads(lambda: encode(weight, None, TABLES["Q4_1"], 9, with_base=True)[2])
    codes, halves = random.integers(0, 16, (2049, 32), np.uint8), np.ones(2049, np.float16)
    same_on_any_threads(lambda: block_bytes(codes, halves, None, 4))


@pytest.mark.parametrize(
    ("bits", "with_m", "write"),
    [
        (4, False, ggml_simple_write.write_q4_0),
        (4, True, ggml_simple_write.write_q4_1),
        (5, False, ggml_simple_write.write_q5_0),
        (5, True, ggml_simple_write.write_q5_1),
        (8, False, ggml_simple_write.write_q8_0),
    ],
)
def test_blocks_are_those_that_numpy_writes(
    bits: int, with_m: bool, write: Callable[..., NDArray[Any]], random: np.random.Generator
) -> None:
    codes = random.integers(0, min(1 << bits, 255), (700, 32), np.uint8)
    d, m = random.standard_normal((2, 700)).astype(np.float16)
    fields = {"d": d, "m": m} if with_m else {"d": d}
    ours = block_bytes(codes, d, m if with_m else None, bits)
    assert ours.tobytes() == write(fields, codes).tobytes()


def test_what_is_no_block_is_refused() -> None:
    codes, d = np.zeros((4, 32), np.uint8), np.zeros(4, np.float16)
    with pytest.raises(ValueError, match="contiguous uint8"):
        block_bytes(codes[:, :16], d, None, 4)
    with pytest.raises(ValueError, match="6 bits"):
        block_bytes(codes, d, None, 6)
    with pytest.raises(ValueError, match="no float16 of 4 blocks"):
        block_bytes(codes, d.astype(np.float32), None, 4)
