"""Bytes of stored numbers: as torch stores them, and as llama.cpp lays out its blocks."""

import pytest

from llmkit.estimate.dtypes import CACHE_ONLY, FLOATS, KV_DTYPES, STORAGE, WEIGHT_DTYPES, WITHOUT_SCALES


@pytest.mark.parametrize(
    ("name", "torch_name"),
    [(name, name) for name in ("float32", "bfloat16", "float16", "int8")] + [("fp8", "float8_e4m3fn")],
)
def test_numbers_take_what_torch_takes(name: str, torch_name: str) -> None:
    import torch

    tensor = torch.zeros(64, dtype=getattr(torch, torch_name))
    assert 64 * STORAGE[name].bytes_per_value == tensor.nbytes


def test_two_numbers_of_four_bits_share_a_byte() -> None:
    assert STORAGE["int4"].bytes_per_value == 0.5


@pytest.mark.parametrize(
    ("name", "scales", "bits"),
    [("q8_0", 1, 8), ("q5_1", 2, 5), ("q5_0", 1, 5), ("q4_1", 2, 4), ("q4_0", 1, 4), ("iq4_nl", 1, 4)],
)
def test_blocks_of_llama_cpp_are_32_numbers_and_their_float16_scales(
    name: str, scales: int, bits: int
) -> None:
    assert STORAGE[name].values == 32
    assert STORAGE[name].nbytes == 2 * scales + 32 * bits // 8


def test_every_name_has_its_storage() -> None:
    assert set(WEIGHT_DTYPES) < set(KV_DTYPES) == set(STORAGE)
    assert set(WEIGHT_DTYPES) == {*FLOATS, *WITHOUT_SCALES} == set(KV_DTYPES) - set(CACHE_ONLY)
