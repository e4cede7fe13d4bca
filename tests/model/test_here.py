"""What of a parameter is here."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from llmkit.model.here import here, is_spread
from tests.connected import on_ranks

__all__ = ["on_ranks"]


def _part(compiles: bool) -> tuple[list[float], list[float]]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    spread = distribute_tensor(torch.arange(4.0), init_device_mesh("cpu", (2,)), [Shard(0)]).requires_grad_()
    find = torch.compile(here, backend="eager") if compiles else here
    own = find(spread)
    assert is_spread(spread) and not is_spread(own)
    (own * own).sum().backward()
    assert spread.grad is not None
    return own.tolist(), here(spread.grad).tolist()


@pytest.mark.parametrize("compiles", [False, True])
def test_a_process_has_its_part_and_its_gradient(on_ranks: Callable[..., Any], compiles: bool) -> None:
    assert on_ranks(2, _part, compiles) == [([0.0, 1.0], [0.0, 2.0]), ([2.0, 3.0], [4.0, 6.0])]


def test_a_whole_tensor_is_itself_and_none_is_none() -> None:
    whole = torch.zeros(2)
    assert here(whole) is whole
    assert here(None) is None
    assert not is_spread(whole) and not is_spread(None)
