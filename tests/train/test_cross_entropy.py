"""Nats of targets beside PyTorch's own cross-entropy."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from llmkit.kernels.library import available, why_not
from llmkit.model.learnt import operations as learnt_operations
from llmkit.train.cross_entropy import IGNORED, nats

needs_kernels = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")


def _logits(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits = (torch.randn(40, 301, generator=draw) * 5).to(dtype).requires_grad_()
    targets = torch.randint(301, (40,), generator=draw)
    targets[::6] = IGNORED
    return logits, targets, torch.rand(40, generator=draw)


@pytest.mark.parametrize("native", [pytest.param(True, marks=needs_kernels), False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.float16])
def test_nats_and_gradients_are_those_of_pytorch_with_the_kernels_and_without(
    dtype: torch.dtype, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr(learnt_operations, "HAS_KERNELS", False)
    logits, targets, weights = _logits(dtype)
    found = nats(logits, targets)
    expected = F.cross_entropy(logits.float(), targets, reduction="none")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=2e-6)
    (one,) = torch.autograd.grad(found, logits, weights)
    (other,) = torch.autograd.grad(expected, logits, weights)
    assert one.dtype == dtype
    exact = torch.finfo(dtype).bits >= 32
    torch.testing.assert_close(one, other, rtol=1e-5 if exact else 1e-2, atol=1e-7)


@needs_kernels
def test_nothing_but_the_logits_is_kept_for_the_way_back() -> None:
    logits, targets, _ = _logits(torch.bfloat16)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        nats(logits, targets)
    assert sorted(one.nbytes for one in kept) == sorted([logits.nbytes, targets.nbytes, 2 * 40 * 4])


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_of_logits_that_are_used_up_lies_in_their_place_bit_for_bit(dtype: torch.dtype) -> None:
    given, targets, weights = _logits(dtype)
    (expected,) = torch.autograd.grad(nats(given, targets), given, weights)
    logits = given * 1
    place = logits.data_ptr()
    (found,) = torch.autograd.grad(nats(logits, targets, used_up=True), logits, weights)
    assert torch.equal(found, expected)
    assert found.data_ptr() == place


@needs_kernels
def test_who_keeps_logits_that_are_used_up_is_told() -> None:
    given, targets, weights = _logits(torch.float32)
    logits = given * 1
    kept = logits.square().sum()
    nats(logits, targets, used_up=True).backward(weights)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        kept.backward()


@needs_kernels
def test_a_target_that_is_no_id_is_missing_or_narrow_is_refused() -> None:
    for wrong in ([0, 301], [0, -1]):
        with pytest.raises(IndexError, match="none of 301 ids"):
            nats(torch.zeros(2, 301), torch.tensor(wrong))
    for targets in (torch.tensor([0]), torch.tensor([0, 1], dtype=torch.int32)):
        with pytest.raises(ValueError, match="targets"):
            nats(torch.zeros(2, 301), targets)


@needs_kernels
def test_a_gradient_of_its_gradient_is_refused() -> None:
    logits, targets, _ = _logits(torch.float32)
    (slopes,) = torch.autograd.grad(nats(logits, targets).sum(), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        slopes.square().sum().backward()
