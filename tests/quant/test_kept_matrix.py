"""Rounded matrices that are kept in few bytes, and made again."""

from dataclasses import replace

import pytest
import torch

from llmkit.quant.grids import grid_named
from llmkit.quant.kept_matrix import KeptMatrix
from llmkit.quant.rounding import round_matrix

GRIDS = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "Q4_0", "Q5_1", "Q8_0", "IQ4_NL", "int4-g128-asym",
         "int3-g32", "int8", "mlx-4bit-g64", "fp8-channel")  # fmt: skip


@pytest.mark.parametrize("name", GRIDS)
def test_a_matrix_comes_back_to_the_bit(name: str) -> None:
    weight = torch.randn(6, 512, generator=torch.Generator().manual_seed(1))
    weight[2] = -0.0
    whole = round_matrix(weight, grid_named(name), None)
    kept = KeptMatrix.of(whole)
    assert torch.equal(kept.codes, whole.codes) and torch.equal(kept.values(), whole.values())
    assert (kept.grid, kept.noise, kept.output_noise) == (whole.grid, whole.noise, whole.output_noise)
    again, before = kept.fitted, whole.fitted
    assert again.stored.keys() == before.stored.keys()
    for key, one in before.stored.items():
        assert again.stored[key].dtype == one.dtype and torch.equal(again.stored[key], one)
    assert torch.equal(again.lattice.step, before.lattice.step)
    assert torch.equal(again.lattice.table, before.lattice.table)
    assert again.lattice.group == before.lattice.group
    assert (again.lattice.base is None) == (before.lattice.base is None)


def test_columns_of_another_order_come_back_to_theirs() -> None:
    order = torch.tensor([3, 0, 2, 1]).repeat_interleave(64) * 64 + torch.arange(64).repeat(4)
    weight = torch.randn(6, 256, generator=torch.Generator().manual_seed(1))
    whole = replace(round_matrix(weight[:, order], grid_named("Q4_K"), None), order=order)
    kept = KeptMatrix.of(whole)
    assert torch.equal(kept.values(), whole.values())
    assert torch.equal(kept.values()[:, order], kept.fitted.lattice.values(kept.codes))
    assert (kept.values() - weight).square().mean() < 0.01


def test_an_odd_column_is_kept_too() -> None:
    whole = round_matrix(torch.randn(3, 17), grid_named("int4"), None)
    assert torch.equal(KeptMatrix.of(whole).codes, whole.codes)


@pytest.mark.parametrize(("name", "bits"), [("Q4_K", 4.75), ("Q6_K", 8.75), ("int4-g128", 4.5), ("Q8_0", 9)])
def test_a_weight_takes_hardly_more_than_it_will_in_the_file(name: str, bits: float) -> None:
    whole = round_matrix(torch.randn(64, 2048), grid_named(name), None)
    assert KeptMatrix.of(whole).nbytes * 8 <= bits * whole.codes.numel()
