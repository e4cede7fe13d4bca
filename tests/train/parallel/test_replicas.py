"""Gradients summed over replicas."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from llmkit.train.parallel import replicas
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.ranks import MeshRanks
from llmkit.train.parallel.replicas import GradientSum


def summed(bucket_bytes: int) -> tuple[list[Any], list[Any], list[int]]:
    replicas.BUCKET_BYTES = bucket_bytes
    ranks = MeshRanks(Degrees(dp=2), torch.device("cpu"))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    unused = nn.Parameter(torch.ones(2))
    gradients = GradientSum([*model.parameters(), unused], ranks.group("dp"))
    x = torch.randn(4, 2, 4)  # two parts for each process
    own = x[2 * ranks.rank : 2 * ranks.rank + 2]
    model(own[0]).square().sum().backward()
    gradients.expect_last()
    model(own[1]).square().sum().backward()
    gradients.finish()
    found = [one.grad.clone().numpy() for one in model.parameters()]
    assert unused.grad is not None
    twin = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    twin.load_state_dict(model.state_dict())
    twin(x).square().sum().backward()
    expected = [one.grad.numpy() for one in twin.parameters()]
    return found, expected, unused.grad.tolist()


def test_sums_are_those_of_one_process_whatever_the_buckets(on_ranks: Callable[..., Any]) -> None:
    for size in (1, 100, 1 << 20):
        for found, expected, unused in on_ranks(2, summed, size):
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
            assert unused == [0.0, 0.0]
