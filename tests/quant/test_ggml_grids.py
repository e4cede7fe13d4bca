"""GGUF's grids: at least as good as ggml's own encoders on the same kind of weights, and what they refuse."""

import pytest
import torch

from llmkit.errors import DataError
from llmkit.quant.ggml_grids import GGML_GRIDS

GGML = {  # dB of signal over noise of ggml's encoders, of Gaussian weights
    **{"Q8_0": 45.42, "Q6_K": 35.01, "Q5_K": 28.85, "Q5_0": 27.38, "Q4_K": 22.93, "IQ4_NL": 22.37},
    **{"IQ4_XS": 22.30, "Q4_1": 22.14, "Q4_0": 21.32, "Q3_K": 16.43, "Q2_K": 10.55},
}


def decibels(weight: torch.Tensor, values: torch.Tensor) -> float:
    noise = (values - weight).double().square().sum()
    return float(10 * torch.log10(weight.double().square().sum() / noise))


@pytest.mark.parametrize("name", GGML)
def test_gaussian_weights_lose_no_more_than_in_ggml(name: str) -> None:
    weight = torch.randn(64, 2048, generator=torch.Generator().manual_seed(0))
    lattice = GGML_GRIDS[name].fit(weight).lattice
    assert decibels(weight, lattice.values(lattice.round(weight))) >= GGML[name] - 0.05


@pytest.mark.parametrize("name", GGML_GRIDS)
def test_columns_that_count_lose_less_where_importance_is_told(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(16, 512, generator=generator)
    importance = torch.rand(512, generator=generator) ** 6
    lost = []
    for counts in (None, importance, importance.expand(16, 512)):
        lattice = GGML_GRIDS[name].fit(weight, counts).lattice
        lost.append(float((importance * (lattice.values(lattice.round(weight)) - weight) ** 2).sum()))
    assert lost[1] == lost[2] < lost[0]


@pytest.mark.parametrize("name", GGML_GRIDS)
def test_zeros_stay_zeros_and_small_weights_are_finite(name: str) -> None:
    weight = torch.zeros(3, 256)
    weight[1] = torch.linspace(-1, 1, 256) * 1e-9
    weight[2, ::2] = 1e-3
    lattice = GGML_GRIDS[name].fit(weight).lattice
    values = lattice.values(lattice.round(weight))
    assert (values[0] == 0).all()
    assert values.isfinite().all()
    assert (values[2, 1::2].abs() < 2e-4).all()


@pytest.mark.parametrize("name", [name for name, grid in GGML_GRIDS.items() if grid.scale_high])
@pytest.mark.parametrize("size", [1e-3, 1e-4, 1e-5])
def test_superblocks_of_small_weights_lose_as_little_as_those_of_large_ones(name: str, size: float) -> None:
    weight = torch.randn(8, 512, generator=torch.Generator().manual_seed(0))
    lost = []
    for scaled in (weight, weight * size):  # whose superblock's number is below the normal halves
        lattice = GGML_GRIDS[name].fit(scaled).lattice
        lost.append(decibels(scaled, lattice.values(lattice.round(scaled))))
    assert lost[1] > lost[0] - 1.5


def test_what_a_grid_cannot_hold_is_refused() -> None:
    with pytest.raises(DataError, match="a row of 128 is no whole number of blocks of Q4_K"):
        GGML_GRIDS["Q4_K"].fit(torch.ones(1, 128))
    for name in ("Q4_K", "Q8_0", "Q4_1"):
        with pytest.raises(DataError, match="not finite, or beyond what"):
            GGML_GRIDS[name].fit(torch.full((1, 256), 1e30))


def test_bits_are_those_of_the_file_s_blocks() -> None:
    bits = {name: grid.bits_per_weight for name, grid in GGML_GRIDS.items()}
    assert bits["Q4_K"] == 4.5
    assert bits["Q6_K"] == 6.5625
    assert bits["IQ4_XS"] == 4.25
