"""Moments that are joined, against those of all numbers at once."""

import math

import pytest
import torch

from llmkit.probe.attention.moments import Moments, add_moments, moments_about


def moments_of(values: torch.Tensor) -> Moments:
    """In the precision that they have but for their mean."""
    if not len(values):
        return Moments()
    centre = float(values.mean(dtype=torch.float64))
    return moments_about(centre, values - centre, len(values))


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_joined_moments_are_those_of_all_numbers(dtype: torch.dtype, rtol: float) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(1000, generator=generator, dtype=torch.float64).exp() + 50
    total = Moments()
    for part in values.to(dtype).split([1, 0, 400, 7, 592]):
        total = add_moments(total, moments_of(part))
    apart = values - values.mean()
    assert total.count == 1000
    assert total.mean == pytest.approx(float(values.mean()), rel=rtol)
    assert total.second == pytest.approx(float((apart**2).sum()), rel=rtol)
    assert total.third == pytest.approx(float((apart**3).sum()), rel=rtol)
    assert total.fourth == pytest.approx(float((apart**4).sum()), rel=rtol)
    assert total.kurtosis == pytest.approx(float((apart**4).mean() / (apart**2).mean() ** 2), rel=rtol)


def test_numbers_of_a_normal_distribution_have_a_kurtosis_of_3() -> None:
    values = torch.randn(400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert moments_of(values).kurtosis == pytest.approx(3, abs=0.05)
    assert moments_of(values.sign()).kurtosis == pytest.approx(1, abs=1e-4)


def test_equal_numbers_have_none() -> None:
    assert math.isnan(moments_of(torch.full((5,), 0.1)).kurtosis)
    assert math.isnan(Moments().kurtosis)
