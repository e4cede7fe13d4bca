"""The slow searches against a dense scan of steps and bases in float64."""

import numpy as np
import pytest
import torch

from llmkit.quant import search_torch


def lost(weight: np.ndarray, counts: np.ndarray, values: np.ndarray) -> float:
    """Weighted squares from the nearest of the values allowed."""
    return float((counts * np.abs(weight[:, None] - values).min(1) ** 2).sum())


def samples() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.standard_normal((8, 16)), generator.random((8, 16))


def test_steps_lose_little_more_than_the_best_of_a_dense_scan() -> None:
    weights, counts = samples()
    found = search_torch.even_scale(
        torch.from_numpy(weights).float(), torch.from_numpy(counts).float(), -8, 7, 19
    )
    codes, ours, scans, plain = np.arange(-8, 8), 0.0, 0.0, 0.0
    for weight, count, step in zip(weights, counts, found.tolist(), strict=True):
        largest = weight[np.abs(weight).argmax()]
        ours += lost(weight, count, codes * step)
        scans += min(lost(weight, count, codes * largest / by) for by in np.linspace(-9, -6, 1001))
        plain += lost(weight, count, codes * largest / -8)
    assert ours <= 1.02 * scans
    assert ours < 0.85 * plain


def test_steps_with_bases_lose_little_more_than_the_best_of_a_dense_scan() -> None:
    weights, counts = samples()
    steps, bases = search_torch.even_scale_and_base(
        torch.from_numpy(weights).float(), torch.from_numpy(counts).float(), 7, 21, below_zero=False
    )
    ours = scans = plain = 0.0
    for weight, count, step, base in zip(weights, counts, steps.tolist(), bases.tolist(), strict=True):
        width, low = np.ptp(weight), weight.min()
        ours += lost(weight, count, base + np.arange(8) * step)
        plain += lost(weight, count, low + np.arange(8) * width / 7)
        scans += min(
            lost(weight, count, low + shift * width + np.arange(8) * width * size / 7)
            for shift in np.linspace(-0.05, 0.25, 61)
            for size in np.linspace(0.6, 1.1, 61)
        )
    assert ours <= 1.1 * scans
    assert ours < 0.7 * plain


def test_a_table_s_own_values_are_met() -> None:
    table = torch.tensor([-10.0, -3, -1, 1, 2, 7, 12])
    weight = torch.stack([table * 0.25, table * -3, torch.zeros(7)])
    step = search_torch.table_scale(weight, None, table, 15)
    assert step.tolist() == pytest.approx([0.25, -3, 0], rel=1e-6)


def test_only_the_weights_that_count_are_fitted() -> None:
    weight = torch.randn(1, 32, generator=torch.Generator().manual_seed(0))
    weight[0, 16:] = 9
    counts = torch.ones(1, 32)
    counts[0, 16:] = 0
    weight[0, 0] = 10
    step = search_torch.even_scale(weight, counts, -127, 127, 19)
    codes = (weight / step[:, None]).round()[0, :16]
    assert ((codes * step - weight[0, :16]).abs() <= step.abs() / 2 + 1e-6).all()
