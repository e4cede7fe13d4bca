"""Factors of low rank against numpy's singular value decomposition."""

import numpy as np
import pytest
import torch

from llmkit.model.algebra.low_rank import factorise

SHAPES = pytest.mark.parametrize("shape", [(30, 50), (50, 30), (24, 24)])


def _matrix(*shape: int) -> torch.Tensor:
    """Strengths that fall, as those of differences of models do."""
    random = np.random.default_rng(0)
    left, right = random.normal(size=(shape[0], min(shape))), random.normal(size=(min(shape), shape[1]))
    return torch.from_numpy((left * 0.7 ** np.arange(min(shape))) @ right).float()


@SHAPES
def test_the_product_is_the_best_matrix_of_its_rank(shape: tuple[int, int]) -> None:
    matrix = _matrix(*shape)
    found = factorise(matrix, rank=5)
    left, strengths, right = np.linalg.svd(matrix.double().numpy(), full_matrices=False)
    best = (left[:, :5] * strengths[:5]) @ right[:5]
    assert found.a.shape == (5, shape[1]) and found.b.shape == (shape[0], 5)
    assert np.abs((found.b @ found.a).numpy() - best).max() < 1e-5 * strengths[0]
    assert found.explained == pytest.approx((strengths[:5] ** 2).sum() / (strengths**2).sum(), abs=1e-9)
    assert found.norm == pytest.approx(np.linalg.norm(strengths), rel=1e-6)
    assert found.a.norm().item() == pytest.approx(found.b.norm().item(), rel=1e-4)  # of one size


@SHAPES
@pytest.mark.parametrize("energy", [0.3, 0.9, 0.999, 1.0])
def test_energy_chooses_the_lowest_rank_that_keeps_it(shape: tuple[int, int], energy: float) -> None:
    matrix = _matrix(*shape)
    strengths = np.linalg.svd(matrix.double().numpy(), compute_uv=False) ** 2
    shares = strengths.cumsum() / strengths.sum()
    found = factorise(matrix, energy=energy)
    assert found.explained >= energy - 1e-9
    if energy < 1:
        assert len(found.a) == int((shares >= energy).argmax()) + 1
    assert len(factorise(matrix, rank=2, energy=energy).a) <= 2


def test_no_rank_is_spent_on_rounding() -> None:
    matrix = _matrix(20, 3) @ _matrix(3, 40)
    found = factorise(matrix, rank=16)
    assert len(found.a) <= 4  # three, and what float32 made of the product
    assert torch.allclose(found.b @ found.a, matrix, atol=1e-5 * matrix.abs().max().item())


def test_a_matrix_of_zeros_is_explained_by_rank_one() -> None:
    found = factorise(torch.zeros(4, 6), rank=3)
    assert (found.explained, found.norm, len(found.a)) == (1.0, 0.0, 1)
    assert not (found.b @ found.a).any() and found.b.isfinite().all()
