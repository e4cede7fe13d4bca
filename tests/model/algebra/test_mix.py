"""One tensor by a recipe: TIES, DARE and task arithmetic as mergekit has them, worked by hand."""

import math

import torch

from llmkit.model.algebra.algebra import drop
from llmkit.model.algebra.mix import Recipe, mix

BASE = torch.tensor([1.0, 1.0, 1.0, 1.0])
A = torch.tensor([2.0, 0.0, 1.1, 5.0])  # differences 1, -1, 0.1, 4
B = torch.tensor([3.0, 4.0, 1.0, -1.0])  # differences 2, 3, 0, -2


def test_task_arithmetic_adds_weighted_differences_to_the_base() -> None:
    recipe = Recipe(method="task", weights=(1.0, 0.5), scale=2.0)
    # 1 + 2 (1·(1) + 0.5·(2)) = 5; 1 + 2 (-1 + 1.5) = 2; 1 + 2 (0.1) = 1.2; 1 + 2 (4 - 1) = 7
    assert torch.allclose(mix(recipe, "w", [A, B], BASE), torch.tensor([5.0, 2.0, 1.2, 7.0]))


def test_ties_trims_elects_and_takes_the_mean() -> None:
    recipe = Recipe(method="ties", weights=(1.0, 1.0), densities=(0.5, 0.5), normalize=True)
    # trimmed to two numbers each, of equals the first: A 1, 0, 0, 4; B 2, 3, 0, 0
    # agreeing means: (1 + 2) / 2, 3, 0, 4
    assert torch.allclose(mix(recipe, "w", [A, B], BASE), torch.tensor([2.5, 4.0, 1.0, 5.0]))


def test_dare_is_task_arithmetic_of_what_was_drawn() -> None:
    recipe = Recipe(method="dare", weights=(1.0, 0.5), densities=(0.5, 0.25), seed=3)
    drawn = drop(A - BASE, 0.5, 3, "0/w") + 0.5 * drop(B - BASE, 0.25, 3, "1/w")
    assert torch.allclose(mix(recipe, "w", [A, B], BASE), BASE + drawn)
    whole = Recipe(method="dare", weights=(1.0, 0.5), densities=(1.0, 1.0))
    task = Recipe(method="task", weights=(1.0, 0.5))
    assert torch.equal(mix(whole, "w", [A, B], BASE), mix(task, "w", [A, B], BASE))


def test_dare_ties_elects_among_what_was_drawn() -> None:
    recipe = Recipe(method="dare-ties", weights=(1.0, 1.0), densities=(1.0, 1.0))
    # signs: plus, plus (-1 + 3), plus, plus (4 - 2): 1 + 2, 3, 0.1, 4 are added
    assert torch.allclose(mix(recipe, "w", [A, B], BASE), torch.tensor([4.0, 4.0, 1.1, 5.0]))


def test_linear_and_slerp_need_no_base() -> None:
    half = Recipe(method="linear", weights=(1.0, 1.0), normalize=True)
    assert torch.allclose(mix(half, "w", [A, B], None), (A + B) / 2)
    assert torch.allclose(mix(Recipe(method="slerp", weights=(1.0, 1.0)), "w", [A, B], None), B, atol=1e-6)


def test_model_stock_goes_towards_the_mean_as_far_as_the_models_agree() -> None:
    recipe = Recipe(method="model-stock", weights=(1.0, 1.0))
    one, other = torch.tensor([3.0, 0.0]), torch.tensor([1.0, math.sqrt(3.0)])  # 60 degrees apart
    base = torch.tensor([1.0, -1.0])
    expected = base + (one + other) / 2 * (2 / 3)
    assert torch.allclose(mix(recipe, "w", [base + one, base + other], base), expected)
