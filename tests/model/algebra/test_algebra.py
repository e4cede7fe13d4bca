"""Formulas on tensors, each against a slow twin or numbers worked by hand."""

import math

import pytest
import torch

from llmkit.model.algebra.algebra import drop, elect, linear, slerp, stock_share, trim


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_linear_is_the_weighted_sum_and_divides_by_the_weights_if_told() -> None:
    first, second = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0])
    assert linear([first, second], [3, 1], normalize=False).tolist() == [6.0, 4.0]
    assert linear([first, second], [3, 1], normalize=True).tolist() == [1.5, 1.0]


def test_slerp_of_right_angles_keeps_to_the_circle() -> None:
    first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    for share in (0.0, 0.25, 0.5, 1.0):
        found = slerp(first, second, share)[0].tolist()
        assert found == pytest.approx(
            [math.cos(share * math.pi / 2), math.sin(share * math.pi / 2)], abs=1e-7
        )


def test_slerp_is_mergekits_formula() -> None:
    # mergekit's slerp.py: normalised copies give the angle, the vectors themselves are mixed
    first, second = _random(30, 40), 2 * _random(30, 40, seed=1)
    one, two = (tensor.double() / tensor.double().norm() for tensor in (first, second))
    angle = torch.arccos((one * two).sum())
    expected = (
        torch.sin(0.7 * angle) / torch.sin(angle) * first + torch.sin(0.3 * angle) / torch.sin(angle) * second
    )
    assert torch.allclose(slerp(first, second, 0.3), expected.float(), atol=1e-6)


def test_slerp_of_nearly_one_direction_is_a_straight_line() -> None:
    first = _random(20)
    second = first + 1e-3 * _random(20, seed=1)
    assert torch.equal(slerp(first, second, 0.25), first * 0.75 + second * 0.25)
    assert torch.equal(slerp(torch.zeros(20), second, 0.25), second * 0.25)


def test_trim_keeps_the_largest_and_of_equals_the_first() -> None:
    delta = torch.tensor([[1.0, -3.0, 2.0], [-2.0, 2.0, 0.5]])
    assert trim(delta, 0.5).tolist() == [[0, -3.0, 2.0], [-2.0, 0, 0]]
    assert torch.equal(trim(delta, 1.0), delta)
    assert not trim(delta, 0.1).any()  # floor(0.6) numbers


def test_trim_keeps_what_a_sort_would() -> None:
    delta = _random(57, 31)
    kept = delta.abs().flatten().argsort(descending=True)[: int(0.2 * delta.numel())]
    expected = torch.zeros(delta.numel())
    expected[kept] = delta.flatten()[kept]
    assert torch.equal(trim(delta, 0.2), expected.view_as(delta))


def test_drop_keeps_the_mean_and_its_share() -> None:
    delta = torch.ones(400, 500)
    found = drop(delta, 0.25, 0, "a")
    assert set(found.unique().tolist()) == {0.0, 4.0}
    # 200,000 draws: the share's standard error is 0.001
    assert found.count_nonzero() / delta.numel() == pytest.approx(0.25, abs=0.005)
    assert torch.equal(drop(delta, 1.0, 0, "a"), delta)


def test_drop_draws_by_seed_and_name() -> None:
    delta = torch.ones(50, 50)
    first = drop(delta, 0.5, 0, "a")
    assert torch.equal(first, drop(delta, 0.5, 0, "a"))
    assert not torch.equal(first, drop(delta, 0.5, 1, "a"))
    assert not torch.equal(first, drop(delta, 0.5, 0, "b"))


def test_elect_by_hand() -> None:
    # column 0: all agree; 1: 3 - 1 - 1 is plus; 2: minus wins; 3: nothing at all; 4: a tie counts as plus
    deltas = [
        torch.tensor([1.0, 3.0, 1.0, 0.0, 2.0]),
        torch.tensor([2.0, -1.0, -4.0, 0.0, -2.0]),
        torch.tensor([3.0, -1.0, -2.0, 0.0, 0.0]),
    ]
    assert elect(deltas, [1, 1, 1], normalize=False).tolist() == [6, 3, -6, 0, 2]
    assert elect(deltas, [1, 1, 1], normalize=True).tolist() == [2, 3, -3, 0, 2]
    # weights 1 and 5 turn column 1: 3 - 5 - 1 is minus, and the mean is (5·(-1) + 1·(-1)) / 6
    assert elect(deltas, [1, 5, 1], normalize=True)[1] == -1


def test_elect_is_mergekits_consensus() -> None:
    # mergekit's generalized_task_arithmetic.py, get_mask(method="sum") and normalize
    deltas = torch.stack([_random(9, 7, seed=seed) for seed in range(3)])
    weights = torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1)
    weighted = deltas * weights
    mask = weighted.sign() == (weighted.sum(0) >= 0) * 2 - 1
    divisor = (weights * mask).sum(0)
    divisor[divisor == 0] = 1
    expected = (weighted * mask).sum(0) / divisor
    assert torch.allclose(elect(list(deltas), [0.5, 1.0, 2.0], normalize=True), expected, atol=1e-6)


def test_the_share_of_model_stock_is_one_where_models_agree_and_none_at_right_angles() -> None:
    one = torch.tensor([[3.0, 0.0]])
    assert stock_share([one, 2 * one]) == 1.0
    assert stock_share([one, torch.tensor([[0.0, 2.0]])]) == 0.0
    assert stock_share([one, -one]) == stock_share([one, 0 * one]) == 0.0
    # 60 degrees: 2 * 0.5 / (1 + 0.5); with a third, cosines 0.5, 1 and 0.5: 3 * (2 / 3) / (1 + 2 * (2 / 3))
    slanted = torch.tensor([[1.0, math.sqrt(3.0)]])
    assert stock_share([one, slanted]) == pytest.approx(2 / 3)
    assert stock_share([one, slanted, one]) == pytest.approx(6 / 7)


def test_the_share_of_model_stock_is_mergekits_formula() -> None:
    # mergekit's model_stock.py, all of a tensor at once
    deltas = [_random(20, 30) + 0.7 * _random(20, 30, seed=seed) for seed in (1, 2, 3)]
    flat = [delta.double().flatten() for delta in deltas]
    cosines = [(flat[i] @ flat[j]) / (flat[i].norm() * flat[j].norm()) for i in range(3) for j in range(i)]
    mean = (sum(cosines) / 3).item()
    assert stock_share(deltas) == pytest.approx(3 * mean / (1 + 2 * mean), rel=1e-9)
