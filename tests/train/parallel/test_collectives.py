"""What travels between processes arrives, and gradients go back the way it came."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from llmkit.train.parallel import collectives
from llmkit.train.parallel.collectives import all_gather, all_reduce, reduce_scatter, scattered


def numbers(rank: int, *shape: int) -> Tensor:
    """Other ones on each process, whole ones: sums of them are exact."""
    return torch.randint(-50, 50, shape, generator=torch.Generator().manual_seed(rank)).double()


def told(world: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each operation, what it gives here, and the gradient of a sum weighted by this process's numbers."""
    rank, group = dist.get_rank(), dist.group.WORLD
    assert group is not None
    found = {}
    for name, operation, given in (
        ("all_gather", all_gather, numbers(rank, 3, 2).t()),  # not side by side in memory
        ("reduce_scatter", reduce_scatter, numbers(rank, 2, world, 3).transpose(0, 1)),
        ("all_reduce", all_reduce, numbers(rank, 3, 2).t()),
    ):
        x = given.detach().requires_grad_()
        y = operation(x, group)
        (y * numbers(10 + rank, *y.shape)).sum().backward()
        assert x.grad is not None
        found[name] = (y.detach().numpy(), x.grad.numpy())
    return found


@pytest.mark.parametrize("world", [2, 4])
def test_results_and_gradients_are_those_of_the_sums_written_out(
    on_ranks: Callable[..., Any], world: int
) -> None:
    ranks = range(world)
    own = [numbers(rank, 3, 2).t() for rank in ranks]
    summands = [numbers(rank, 2, world, 3).transpose(0, 1) for rank in ranks]
    weights = {
        name: [numbers(10 + rank, *shape) for rank in ranks]
        for name, shape in (("all", (world, 2, 3)), ("one", (2, 3)))
    }
    for rank, found in enumerate(on_ranks(world, told, world)):
        expected = {
            "all_gather": (torch.stack(own), sum(one[rank] for one in weights["all"])),
            "reduce_scatter": (sum(one[rank] for one in summands), torch.stack(weights["one"])),
            "all_reduce": (sum(own), sum(weights["one"])),
        }
        for name, (y, gradient) in expected.items():
            np.testing.assert_array_equal(found[name][0], y, name)
            np.testing.assert_array_equal(found[name][1], gradient, name)


def by_both_ways() -> list[tuple[np.ndarray, np.ndarray]]:
    group = dist.group.WORLD
    assert group is not None
    found = []
    for summands in (numbers(group.rank(), 2, 5, 3), numbers(group.rank(), 2, 3, 5).transpose(1, 2)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(collectives, "_by_exchange", collectives._by_reduce_scatter)
            as_on_a_gpu = scattered(summands, group)
        found.append((scattered(summands, group).numpy(), as_on_a_gpu.numpy()))
    return found


def test_an_exchange_and_a_sum_give_what_a_reduce_scatter_gives(on_ranks: Callable[..., Any]) -> None:
    """What a GPU does in its place."""
    for found in on_ranks(2, by_both_ways):
        for exchanged, total in found:
            np.testing.assert_array_equal(exchanged, total)


def rounded_once() -> float:
    group = dist.group.WORLD
    assert group is not None
    summands = torch.tensor([256.0, 1.0, 1.0, -256.0][group.rank()], dtype=torch.bfloat16).expand(4, 1)
    return scattered(summands, group).item()


def test_sums_of_narrow_numbers_are_rounded_once(on_ranks: Callable[..., Any]) -> None:
    assert on_ranks(4, rounded_once) == [2.0] * 4


def compiled() -> list[list[np.ndarray]]:
    """A product between a gather and a shared sum, as it is and as one graph of the compiler."""
    group = dist.group.WORLD
    assert group is not None
    w = numbers(5, 6, 4).requires_grad_()

    def through(x: Tensor) -> Tensor:
        whole = all_gather(x, group).flatten(0, 1)
        return reduce_scatter((whole @ w.t()).unflatten(0, (group.size(), -1)), group).sin()

    results = []
    for function in (through, torch.compile(through, backend="aot_eager", fullgraph=True)):
        x = numbers(group.rank(), 3, 4).requires_grad_()
        y = function(x)
        y.sum().backward()
        assert x.grad is not None and w.grad is not None
        results.append([one.numpy() for one in (y.detach(), x.grad, w.grad)])
        w.grad = None
    return results


def test_they_are_part_of_what_is_compiled(on_ranks: Callable[..., Any]) -> None:
    for plain, as_one_graph in on_ranks(2, compiled):
        for one, other in zip(plain, as_one_graph, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-12)
