import torch
from torch import nn
from torch.nn import functional as F

from llmkit.quant.moments import InputsOfPass, Moments, add_inputs
from llmkit.quant.workers import Workers


def moments_of(*seen: InputsOfPass) -> dict[str, Moments]:
    found: dict[str, Moments] = {}
    add_inputs(found, seen)
    return found


def test_moments_are_the_sums_of_outer_products_and_of_sizes() -> None:
    inputs = torch.randn(3, 5, 4)
    weight = torch.randn(2, 4)
    with InputsOfPass({"w": weight}) as watch:
        F.linear(inputs, weight)
        F.linear(2 * inputs, weight)
    rows = inputs.flatten(0, 1)
    found = moments_of(watch)["w"]
    assert torch.allclose(found.second, 5 * sum(torch.outer(row, row) for row in rows), atol=1e-5)
    assert torch.allclose(found.absolute, 3 * rows.abs().sum(0), atol=1e-5)
    assert found.count == 30


def test_moments_of_inputs_in_another_order_are_those_of_the_inputs_so_ordered() -> None:
    inputs, others = torch.randn(2, 20, 6, generator=torch.Generator().manual_seed(1))
    order = torch.tensor([2, 0, 5, 1, 4, 3])
    found, wanted = Moments.of_width(6), Moments.of_width(6)
    found.add(inputs, original=others)
    wanted.add(inputs[:, order], original=others[:, order])
    moved = found.ordered(order)
    assert torch.allclose(moved.second, wanted.second) and torch.allclose(moved.absolute, wanted.absolute)
    assert moved.missing is not None and wanted.missing is not None and moved.count == 20
    assert torch.allclose(moved.missing, wanted.missing)
    squares = Moments.of_squares(found.squares, 20).ordered(order)
    assert torch.equal(squares.squares, found.squares[order]) and squares.missing is None


def test_matrices_that_read_one_tensor_share_their_moments_and_others_do_not() -> None:
    q, k, o = (nn.Linear(4, 4, bias=False) for _ in range(3))
    x = torch.randn(7, 4)
    weights = {"q": q.weight, "k": k.weight, "o": o.weight}
    seen = []
    for _ in range(2):
        with InputsOfPass(weights) as watch:
            o(torch.tanh(q(x) + k(x)))
        seen.append(watch)
    found = moments_of(*seen)
    assert found["q"] is found["k"]
    assert found["q"].count == found["o"].count == 14
    assert not torch.equal(found["q"].second, found["o"].second)


def test_an_expert_sees_only_what_is_multiplied_with_its_part_of_the_stack() -> None:
    stack = torch.randn(3, 2, 4)
    inputs = torch.randn(5, 4)
    with InputsOfPass({"experts": stack}) as watch:
        F.linear(inputs[:2], stack[2])
        F.linear(inputs[2:], stack.unbind()[0])
    assert {name: one.count for name, one in moments_of(watch).items()} == {"experts[2]": 2, "experts[0]": 3}


def test_results_and_weights_that_nobody_asked_for_are_left_alone() -> None:
    weight, other, x = torch.randn(2, 4), torch.randn(2, 4), torch.randn(3, 4)
    with InputsOfPass({"w": weight}) as watch:
        assert torch.equal(F.linear(x, weight), x @ weight.T)
        F.linear(x, other)
    assert list(watch.inputs) == ["w"]


def test_bfloat16_inputs_are_summed_in_float32() -> None:
    moments = Moments.of_width(1)
    moments.add(torch.full((1000, 1), 1.0, dtype=torch.bfloat16))
    assert moments.second.item() == moments.absolute.item() == 1000


def test_moments_have_the_same_bits_from_any_number_of_workers() -> None:
    rows, found = torch.randn(300, 700), []
    for count in (1, 2, 3):
        with Workers(count) as workers:
            found.append(Moments.of_width(700))
            found[-1].add(rows, workers)
    assert torch.equal(found[0].second, found[1].second) and torch.equal(found[0].second, found[2].second)
    assert torch.allclose(found[0].second, rows.T @ rows, atol=1e-3)


def test_what_inputs_have_lost_is_summed_beside_them_but_not_for_experts() -> None:
    weight, stack = torch.randn(2, 4), torch.randn(3, 2, 4)
    now, before = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    seen: list[list[InputsOfPass]] = [[], []]
    for passes, inputs in zip(seen, (now, before), strict=True):
        for part in inputs:
            with InputsOfPass({"w": weight, "experts": stack}) as watch:
                F.linear(part, weight)
                F.linear(part + 1, stack[1])
            passes.append(watch)
    found: dict[str, Moments] = {}
    add_inputs(found, seen[0], originals=seen[1])
    x, y = now.flatten(0, 1), before.flatten(0, 1)
    missing = found["w"].missing
    assert missing is not None
    assert torch.allclose(missing, (y - x).T @ x, atol=1e-5)
    assert found["experts[1]"].missing is None
    scale = torch.tensor([1.0, 2, 3, 4])
    of_divided = Moments.of_width(4)
    of_divided.add(x / scale, original=y / scale)
    divided = found["w"].divided(scale).missing
    assert divided is not None and of_divided.missing is not None
    assert torch.allclose(divided, of_divided.missing, atol=1e-5)
