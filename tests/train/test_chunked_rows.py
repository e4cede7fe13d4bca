"""Scores by chunks against one pass, and what is never held at once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from llmkit.train.chunked_rows import row_scores, row_totals, rows_per_chunk

N, D, V = 23, 5, 40


@pytest.fixture
def parts() -> tuple[Tensor, Tensor, Tensor]:
    """Rows, a head and targets, float64."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(N, D, generator=generator, dtype=torch.float64, requires_grad=True)
    head = torch.randn(V, D, generator=generator, dtype=torch.float64, requires_grad=True)
    return rows, head, torch.randint(V, (N,), generator=generator)


def gradients(loss: Tensor, *of: Tensor) -> list[Tensor]:
    return [one.clone() for one in torch.autograd.grad(loss, of)]


@pytest.mark.parametrize("chunk", [1, 4, 22, 23, 100])
@pytest.mark.parametrize("trained", [True, False])
def test_chunks_give_the_scores_and_gradients_of_one_pass(
    parts: tuple[Tensor, Tensor, Tensor], chunk: int, trained: bool
) -> None:
    rows, head, targets = parts
    head.requires_grad_(trained)
    learnt = [rows, head] if trained else [rows]
    weights = torch.linspace(-1, 2, N, dtype=torch.float64)

    def score(piece: Tensor, target: Tensor) -> Tensor:
        return -F.cross_entropy(piece @ head.T, target, reduction="none")

    whole = score(rows, targets)
    expected = gradients((weights * whole.exp()).sum(), *learnt)  # a loss that is not linear in the scores
    found = row_scores(score, rows, [targets], parameters=[head] if trained else [], chunk_rows=chunk)
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(gradients((weights * found.exp()).sum(), *learnt), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 4, 23])
@pytest.mark.parametrize("which", ["both", "rows", "head"])
def test_totals_are_those_of_one_pass(parts: tuple[Tensor, Tensor, Tensor], chunk: int, which: str) -> None:
    rows, head, targets = parts
    rows.requires_grad_(which != "head")
    head.requires_grad_(which != "rows")
    learnt = [one for one in (rows, head) if one.requires_grad]

    def score(piece: Tensor, target: Tensor) -> Tensor:
        nats = F.cross_entropy(piece @ head.T, target, reduction="none")
        return torch.stack([nats, nats.detach() ** 2], 1)

    whole = score(rows, targets).sum(0)
    expected = gradients(3 * whole[0], *learnt)
    loss, counted = row_totals(
        score, rows, [targets], parameters=[head] if which != "rows" else [], chunk_rows=chunk
    )
    torch.testing.assert_close(loss, whole[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(counted, whole[1:].detach(), rtol=1e-12, atol=1e-12)
    assert not counted.requires_grad
    for ours, theirs in zip(gradients(3 * loss, *learnt), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("trained", [True, False])
def test_no_tensor_is_larger_than_a_chunk_or_the_head(
    parts: tuple[Tensor, Tensor, Tensor], trained: bool, make_largest: Callable[[], Any]
) -> None:
    rows, head, targets = parts
    head.requires_grad_(trained)
    parameters = [head] if trained else []

    def nats(piece: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(piece @ head.T, target, reduction="none")

    def column(piece: Tensor, target: Tensor) -> Tensor:
        return nats(piece, target).unsqueeze(1)

    for run in (
        lambda: row_scores(nats, rows, [targets], parameters=parameters, chunk_rows=4).sum(),
        lambda: row_totals(column, rows, [targets], parameters=parameters, chunk_rows=4)[0],
    ):
        with make_largest() as largest:
            run().backward()
        assert largest.values == max(4 * V, V * D)
    with make_largest() as largest:
        nats(rows, targets).sum().backward()
    assert largest.values == N * V


def test_nothing_to_score_is_a_sum_of_nothing(parts: tuple[Tensor, Tensor, Tensor]) -> None:
    rows, head, targets = parts

    def score(piece: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(piece @ head.T, target, reduction="none")

    assert row_scores(score, rows[:0], [targets[:0]], parameters=[head], chunk_rows=4).shape == (0,)


def test_without_gradients_chunks_give_the_same_scores(parts: tuple[Tensor, Tensor, Tensor]) -> None:
    rows, head, _ = parts
    with torch.no_grad():
        found = row_scores(lambda piece: (piece @ head.T).logsumexp(1), rows, chunk_rows=5)
        torch.testing.assert_close(found, (rows @ head.T).logsumexp(1), rtol=1e-12, atol=1e-12)


def test_a_chunk_has_a_row_at_least() -> None:
    assert rows_per_chunk(10, 100) == 10
    assert rows_per_chunk(1000, 100) == 1
