"""Rounding by brute force, with the library and without."""

import pytest
import torch

from llmkit.quant import lattice as module
from llmkit.quant.lattice import Lattice

TABLES = {
    "even": torch.arange(-8.0, 8),
    "uneven": torch.tensor([-1.0, -0.6, -0.25, 0, 0.1, 0.4, 1]),
    "many": torch.arange(-127.0, 128),
}


@pytest.fixture(params=["native", "torch"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the native library where it is, and in torch."""
    if request.param == "torch":
        monkeypatch.setattr(module, "natively", lambda *tensors: False)


def lattice_of(name: str, group: int, *, with_base: bool) -> Lattice:
    generator = torch.Generator().manual_seed(4)
    table = TABLES[name]
    step = torch.randn(5, 96 // group, generator=generator) / table.abs().max()
    step[2, 0] = 0
    base = torch.randn(5, 96 // group, generator=generator) if with_base else None
    return Lattice(step, table, base, group)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("with_base", [False, True])
@pytest.mark.parametrize(("group", "first", "count"), [(32, 0, 96), (32, 5, 60), (96, 0, 96), (3, 4, 7)])
def test_a_rounded_weight_is_a_nearest_value(
    name: str, with_base: bool, group: int, first: int, count: int
) -> None:
    lattice = lattice_of(name, group, with_base=with_base)
    weight = torch.randn(5, count, generator=torch.Generator().manual_seed(5))
    codes = lattice.round(weight, first)
    assert codes.dtype == torch.uint8
    every = torch.stack(
        [lattice.values(torch.full_like(codes, code), first) for code in range(len(lattice.table))]
    )
    gap = (lattice.values(codes, first) - weight).abs()
    assert (gap <= (every - weight).abs().amin(0) + 1e-6).all()


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("with_base", [False, True])
def test_codes_and_values_are_the_same_with_the_library_and_without(
    name: str, with_base: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lattice = lattice_of(name, 32, with_base=with_base)
    weight = torch.randn(96, 5, generator=torch.Generator().manual_seed(5)).T  # rows are apart in memory
    codes = lattice.round(weight)
    values = lattice.values(codes)
    monkeypatch.setattr(module, "natively", lambda *tensors: False)
    assert torch.equal(lattice.round(weight), codes)
    assert torch.equal(lattice.values(codes), values)


def test_a_table_of_whole_numbers_in_a_row_is_even() -> None:
    assert [lattice_of(name, 32, with_base=False).is_even for name in TABLES] == [True, False, True]
