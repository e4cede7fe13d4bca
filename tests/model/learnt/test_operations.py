"""When the kernels of training are taken, and what they are told."""

import pytest
import torch

from llmkit.model.learnt import operations as learnt_operations
from llmkit.model.learnt.operations import HAS_KERNELS, strides, takes, with_neighbours


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.float16])
def test_they_are_for_two_dtypes_on_a_cpu_with_gradients_and_without(dtype: torch.dtype) -> None:
    x = torch.zeros(2, dtype=dtype)
    expected = HAS_KERNELS and dtype in (torch.float32, torch.bfloat16)
    assert takes(x, dtype) is expected
    with torch.no_grad():
        assert takes(x, dtype) is expected
    with torch.inference_mode():
        assert not takes(x, dtype)
    assert not takes(torch.zeros(2, device="meta"), dtype)


def test_without_a_library_they_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learnt_operations, "HAS_KERNELS", False)
    assert not takes(torch.zeros(2), torch.float32)


def test_numbers_of_the_last_dimension_come_to_lie_side_by_side() -> None:
    x = torch.arange(24.0).view(2, 3, 4)
    assert with_neighbours(x) is x
    turned = with_neighbours(x.transpose(1, 2))
    assert turned.stride(-1) == 1 and torch.equal(turned, x.transpose(1, 2))
    assert strides("q", torch.zeros(2, 3, 4, 5).transpose(1, 2)) == {"q_row": 60, "q_head": 5, "q_token": 20}
