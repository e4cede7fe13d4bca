"""Muon beside torch's own, a twin in NumPy, and what orthogonal means."""

import json
import math
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from llmkit.train.muon import Muon, orthogonalise, orthogonalising_bytes

LR, MOMENTUM, DECAY = 0.05, 0.9, 0.3
SHAPES = ((6, 4), (4, 6), (6, 4), (5, 5))


def _gradient(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _matrices(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    return [nn.Parameter(_gradient(shape, 900 + number)) for number, shape in enumerate(shapes)]


def _muon(matrices: list[nn.Parameter], dtype: torch.dtype = torch.float32) -> Muon:
    return Muon(matrices, lr=LR, momentum=MOMENTUM, weight_decay=DECAY, dtype=dtype, state={})


def _update(matrices: list[nn.Parameter], optimizer: Muon | torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        for number, matrix in enumerate(matrices):
            matrix.grad = _gradient(tuple(matrix.shape), 100 * number + step)
        optimizer.step()


def _newton_schulz(matrix: np.ndarray) -> np.ndarray:
    """Keller Jordan, Muon, 2024: the listing of the post, in float64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (np.linalg.norm(matrix) + 1e-7)
    if matrix.shape[0] > matrix.shape[1]:
        x = x.T
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def test_updates_are_the_posts_with_the_scale_that_matches_adamw() -> None:
    matrices = _matrices(*SHAPES)
    before = [matrix.detach().double().numpy().copy() for matrix in matrices]
    _update(matrices, _muon(matrices), range(4))
    for number, (matrix, weight) in enumerate(zip(matrices, before, strict=True)):
        buffer = np.zeros_like(weight)
        for step in range(4):
            gradient = _gradient(SHAPES[number], 100 * number + step).double().numpy()
            buffer = MOMENTUM * buffer + (1 - MOMENTUM) * gradient
            update = _newton_schulz((1 - MOMENTUM) * gradient + MOMENTUM * buffer)
            weight = weight - LR * DECAY * weight - LR * 0.2 * math.sqrt(max(weight.shape)) * update
        np.testing.assert_allclose(matrix.detach().numpy(), weight, rtol=1e-4, atol=1e-5)


def test_updates_are_torchs_own_up_to_the_rounding_of_bfloat16() -> None:
    """torch orthogonalises in bfloat16 always."""
    ours, theirs = _matrices(*SHAPES), _matrices(*SHAPES)
    settings = {"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY, "adjust_lr_fn": "match_rms_adamw"}
    peer = torch.optim.Muon(theirs, **settings)  # type: ignore[arg-type]
    _update(theirs, peer, range(4))
    _update(ours, _muon(ours, torch.bfloat16), range(4))
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).abs().max() < 4 * LR * 0.2 * math.sqrt(6) * 2**-6


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 16, 5), (2, 5, 16)])
def test_singular_values_of_an_update_lie_near_one_and_its_directions_are_the_gradients(
    shape: tuple[int, int, int],
) -> None:
    matrices = _gradient(shape, 1)
    made = orthogonalise(matrices)
    values = torch.linalg.svdvals(made)
    assert made.shape == matrices.shape and values.min() > 0.6 and values.max() < 1.3
    U, _, V = torch.linalg.svd(matrices, full_matrices=False)
    off = U.mT @ made @ V.mT
    assert (off - torch.diag_embed(off.diagonal(dim1=-2, dim2=-1))).abs().max() < 1e-4


def test_an_update_has_the_size_of_adamws_whatever_the_shape() -> None:
    for shape in ((64, 64), (64, 256), (256, 64)):
        (matrix,) = _matrices(shape)
        before = matrix.detach().clone()
        optimizer = Muon([matrix], lr=1.0, momentum=0.95, weight_decay=0.0, dtype=torch.float32, state={})
        _update([matrix], optimizer, range(1))
        rms = (matrix - before).square().mean().sqrt()
        assert 0.15 < rms < 0.25


def test_a_stack_of_matrices_is_each_of_them() -> None:
    (stack,) = _matrices((3, 4, 6))
    apart = [nn.Parameter(one.clone()) for one in stack.detach()]
    gradient = _gradient((3, 4, 6), 7)
    stack.grad = gradient
    for one, own in zip(apart, gradient, strict=True):
        one.grad = own
    _muon([stack]).step()
    _muon(apart).step()
    torch.testing.assert_close(stack.detach(), torch.stack([one.detach() for one in apart]))


def test_a_matrix_without_a_gradient_stays_and_has_no_state() -> None:
    first, second = _matrices((4, 4), (4, 4))
    optimizer, before = _muon([first, second]), second.detach().clone()
    first.grad = _gradient((4, 4), 1)
    optimizer.step()
    assert torch.equal(second, before) and second not in optimizer.state


def test_a_gradient_of_zero_moves_nothing_but_by_decay() -> None:
    (matrix,) = _matrices((4, 6))
    before = matrix.detach().clone()
    matrix.grad = torch.zeros(4, 6)
    _muon([matrix]).step()
    torch.testing.assert_close(matrix.detach(), before * (1 - LR * DECAY))


def test_matrices_that_fill_a_stack_alone_are_learnt_from_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    together, apart = _matrices(*SHAPES), _matrices(*SHAPES)
    _update(together, _muon(together), range(2))
    monkeypatch.setattr("llmkit.train.muon._STACKED_VALUES", 1)
    _update(apart, _muon(apart), range(2))
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "shapes", [[(96, 64)] * 6, [(64, 96)] * 3 + [(64, 64)] * 4, [(3, 96, 64), (3, 64, 96)]]
)
def test_an_update_takes_the_memory_that_is_planned_for_its_largest_stack(
    shapes: list[tuple[int, ...]], tmp_path: Path
) -> None:
    matrices = _matrices(*shapes)
    optimizer = _muon(matrices)
    _update(matrices, optimizer, range(1))  # momentum is there
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorder:
        optimizer.step()
    recorder.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    moments = sorted((one for one in events if one["name"] == "[memory]"), key=lambda one: one["ts"])
    peak = max(accumulate(one["args"]["Bytes"] for one in moments))
    assert peak == pytest.approx(orthogonalising_bytes(shapes), rel=0.05)
