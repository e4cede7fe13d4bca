"""Grids of whole codes: what is stored gives the lattice, the search beats the plain choice, borders hold."""

from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.errors import ConfigError, DataError
from llmkit.quant.int_grids import AffineGrid, IntGrid

ROWS, COLUMNS = 24, 256


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(3))


def _loss(values: Tensor, weight: Tensor, importance: Tensor | float = 1.0) -> float:
    return float((importance * (values - weight).square()).sum())


def _rounded(grid: Any, weight: Tensor, importance: Tensor | None = None) -> Tensor:
    lattice = grid.fit(weight, importance).lattice
    return lattice.values(lattice.round(weight))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize(("bits", "group"), [(2, 32), (4, 128), (8, 0), (3, 0)])
def test_a_symmetric_lattice_is_what_is_stored_and_no_worse_than_the_plain_scale(
    bits: int, group: int, dtype: torch.dtype, weight: Tensor
) -> None:
    fitted = IntGrid(bits, group, scale_dtype=dtype).fit(weight)
    scale = fitted.stored["scale"]
    assert scale.dtype == dtype and scale.shape == (ROWS, COLUMNS // (group or COLUMNS))
    codes = fitted.lattice.round(weight)
    spread = scale.float().repeat_interleave(group or COLUMNS, 1)
    half = 1 << (bits - 1)
    assert torch.equal(fitted.lattice.values(codes), (codes.float() - half) * spread)
    blocks = weight.view(ROWS, -1, group or COLUMNS)
    plain = blocks.abs().amax(-1, keepdim=True) / (half - 0.5)  # compressed-tensors' own
    naive = (blocks / plain).round().clamp(-half, half - 1) * plain
    assert _loss(fitted.lattice.values(codes), weight) < _loss(naive.view_as(weight), weight)


@pytest.mark.parametrize("zero_low", [0, 1])
@pytest.mark.parametrize(("bits", "group"), [(2, 32), (4, 128), (4, 32), (8, 0)])
def test_zero_points_are_codes_and_beat_the_span(
    bits: int, group: int, zero_low: int, weight: Tensor
) -> None:
    weight = weight + 0.7  # a side heavier than the other
    fitted = IntGrid(bits, group, symmetric=False, scale_dtype=torch.float16, zero_low=zero_low).fit(weight)
    scale, zero = fitted.stored["scale"].float(), fitted.stored["zero"]
    high = (1 << bits) - 1
    assert zero.dtype == torch.int16 and int(zero.min()) >= zero_low and int(zero.max()) <= high
    codes = fitted.lattice.round(weight)
    width = group or COLUMNS
    by_hand = (codes.float() - zero.repeat_interleave(width, 1)) * scale.repeat_interleave(width, 1)
    assert torch.allclose(fitted.lattice.values(codes), by_hand, atol=1e-6)
    blocks = weight.view(ROWS, -1, width)
    low, top = blocks.amin(-1, keepdim=True).clamp_max(0), blocks.amax(-1, keepdim=True).clamp_min(0)
    step = (top - low) / high
    origin = (-low / step).round().clamp(zero_low, high)
    naive = ((blocks / step + origin).round().clamp(0, high) - origin) * step
    assert _loss(by_hand, weight) < _loss(naive.view_as(weight), weight)


def test_a_side_alone_needs_no_zero_between_and_constants_are_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    above = torch.rand(4, 64, generator=generator) + 3
    for weight in (above, -above):
        values = _rounded(IntGrid(4, 32, symmetric=False, scale_dtype=torch.float32), weight)
        assert (values - weight).abs().max() < 4 / 15
    for constant in (0.0, 0.3, -0.3):
        weight = torch.full((2, 64), constant)
        for grid in (IntGrid(4, 32, symmetric=False), IntGrid(4, 32), AffineGrid(4, 32)):
            assert (_rounded(grid, weight) - constant).abs().max() <= 0.004 * abs(constant)  # bfloat16's


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_an_affine_lattice_is_what_is_stored_and_beats_the_span(bits: int, weight: Tensor) -> None:
    weight = weight - 0.4
    fitted = AffineGrid(bits, 64, torch.bfloat16).fit(weight)
    scale, bias = (fitted.stored[key].float().repeat_interleave(64, 1) for key in ("scale", "bias"))
    codes = fitted.lattice.round(weight)
    assert torch.equal(fitted.lattice.values(codes), codes.float() * scale + bias)
    blocks = weight.view(ROWS, -1, 64)
    low = blocks.amin(-1, keepdim=True)
    step = (blocks.amax(-1, keepdim=True) - low) / ((1 << bits) - 1)
    naive = ((blocks - low) / step).round() * step + low
    assert _loss(fitted.lattice.values(codes), weight) < 1.02 * _loss(naive.view_as(weight), weight)


def test_what_matters_more_is_kept_better(weight: Tensor) -> None:
    importance = torch.ones(COLUMNS)
    importance[::8] = 50
    for grid in (IntGrid(3, 64), IntGrid(3, 64, symmetric=False), AffineGrid(3, 64)):
        weighed, plain = _rounded(grid, weight, importance), _rounded(grid, weight)
        assert _loss(weighed, weight, importance) < _loss(plain, weight, importance)


def test_names_bits_and_blocks() -> None:
    assert (IntGrid(4, 128).name, IntGrid(4, 128).bits_per_weight) == ("int4-g128", 4.125)
    asym = IntGrid(4, 32, symmetric=False, scale_dtype=torch.float16)
    assert (asym.name, asym.bits_per_weight, asym.block) == ("int4-g32-asym", 4 + (16 + 4) / 32, 32)
    assert (IntGrid(8, 0).name, IntGrid(8, 0).bits_per_weight, IntGrid(8, 0).block) == ("int8", 8, 1)
    assert (AffineGrid(4, 64).name, AffineGrid(4, 64).bits_per_weight) == ("mlx-4bit-g64", 4.5)


def test_what_cannot_be_held_is_told(weight: Tensor) -> None:
    with pytest.raises(DataError, match="a row of 256 is no whole number of groups of int4-g96"):
        IntGrid(4, 96).fit(weight)
    weight[0, 0] = 1e30
    with pytest.raises(DataError, match="beyond what int4-g32 can hold"):
        IntGrid(4, 32, scale_dtype=torch.float16).fit(weight)
    with pytest.raises(ConfigError, match="no codes of 9 bits"):
        IntGrid(9)
