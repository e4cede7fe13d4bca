"""Grids by the names that people type."""

import pytest
import torch

from llmkit.errors import UsageError
from llmkit.quant.fp8_grid import Fp8Grid
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.grids import EXAMPLES, grid_named
from llmkit.quant.int_grids import AffineGrid, IntGrid


def test_every_name_told_is_understood_and_is_the_grids_own() -> None:
    for name in (*EXAMPLES, *GGML_GRIDS):
        assert grid_named(name).name == name


def test_names_say_bits_group_and_zero_points() -> None:
    half = torch.float16
    assert grid_named("int3-g64", half) == IntGrid(3, 64, True, half)
    assert grid_named("INT4-g32-asym", half, zero_low=1) == IntGrid(4, 32, False, half, 1)
    assert grid_named("int8-asym", half) == IntGrid(8, 0, False, half)
    assert grid_named("mlx-6bit-g32", half) == AffineGrid(6, 32, half)
    assert grid_named("fp8-channel", half) == Fp8Grid(half)
    assert grid_named("q4_k") is GGML_GRIDS["Q4_K"]


@pytest.mark.parametrize("name", ["int4-128", "int9", "mlx-7bit-g64", "q4_k_m", ""])
def test_an_unknown_name_lists_what_there_is(name: str) -> None:
    with pytest.raises(UsageError, match=r"no grid is called .*Q4_K.*int4-g128.*fp8-channel"):
        grid_named(name)
