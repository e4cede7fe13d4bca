"""Scores of rows by way of something as wide as the vocabulary, a few rows at a time.

A language model's logits are (N, V) for N targets: at V = 150,000 they are most of the memory of a step. Here
only those of a chunk of rows exist at once, forward and backward, and the result is that of one pass.

Shapes: N rows, n rows of a chunk, D hidden_size, V vocab_size, K columns.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_VALUES = 1 << 24
"""Logits of one chunk: 64 MiB as float32."""
RowScore = Callable[..., Tensor]
"""(rows (n, D), then (n, ...) of each of the others) to (n,) or (n, K); each row is scored by itself."""


def rows_per_chunk(width: int, values: int = CHUNK_VALUES) -> int:
    """How many rows of `width` values make a chunk."""
    return max(1, values // width)


def row_scores(
    score: RowScore,
    rows: Tensor,
    others: Sequence[Tensor] = (),
    *,
    parameters: Sequence[Tensor] = (),
    chunk_rows: int,
) -> Tensor:
    """Each row's score, to be weighed later as one likes.

    Where nothing in `score` is trained, a row's gradient is worked out beside its score, since it only waits
    for a factor; otherwise each chunk is computed a second time on the way back.

    Args:
        score: gives (n,).
        rows: (N, D), which gradients flow to.
        others: (N, ...) each; no gradients flow to them.
        parameters: what `score` reads and is trained.
        chunk_rows: the most rows at once.

    Returns:
        (N,).
    """
    parts = list(_slices(len(rows), chunk_rows))
    if len(parts) == 1 or not torch.is_grad_enabled():
        return torch.cat([_score(score, rows, others, part) for part in parts])
    if not parameters and rows.requires_grad:
        values: Tensor = _RowScores.apply(score, chunk_rows, rows, *others)  # type: ignore[no-untyped-call]
        return values
    return torch.cat([checkpoint(_score, score, rows, others, part, use_reentrant=False) for part in parts])


def row_totals(
    score: RowScore,
    rows: Tensor,
    others: Sequence[Tensor] = (),
    *,
    parameters: Sequence[Tensor] = (),
    chunk_rows: int,
) -> tuple[Tensor, Tensor]:
    """The sum of all scores; nothing is computed twice.

    Args:
        score: gives (n, K): what is learnt from, then what is only counted.
        rows, others, parameters, chunk_rows: as for `row_scores`.

    Returns:
        The sum of the first column, and (K - 1,) those of the others, which carry no gradient.
    """
    parts = list(_slices(len(rows), chunk_rows))
    if len(parts) == 1 or not torch.is_grad_enabled():
        totals = torch.stack([_score(score, rows, others, part).sum(0) for part in parts]).sum(0)
        return totals[0], totals[1:].detach()
    trained = [one for one in (rows, *parameters) if one.requires_grad]
    both: tuple[Tensor, Tensor] = _RowTotals.apply(score, chunk_rows, rows, tuple(others), trained, *trained)  # type: ignore[no-untyped-call]
    return both


class _RowScores(torch.autograd.Function):
    """Scores whose gradient to each row is kept instead of what would be needed to work it out."""

    @staticmethod
    def forward(ctx: Any, score: RowScore, chunk_rows: int, rows: Tensor, *others: Tensor) -> Tensor:
        gradient = torch.empty_like(rows)
        values = []
        for part in _slices(len(rows), chunk_rows):
            with torch.enable_grad():
                piece = rows[part].detach().requires_grad_()
                scores = score(piece, *(other[part] for other in others))
                (gradient[part],) = torch.autograd.grad(scores.sum(), piece)
            values.append(scores.detach())
        ctx.save_for_backward(gradient)
        ctx.num_others = len(others)
        return torch.cat(values)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *wanted: Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        factor = wanted[0].unsqueeze(1).to(gradient.dtype)
        return None, None, gradient * factor, *[None] * ctx.num_others


class _RowTotals(torch.autograd.Function):
    """A sum whose gradients are all worked out beside it: they only wait for one factor."""

    @staticmethod
    def forward(
        ctx: Any,
        score: RowScore,
        chunk_rows: int,
        rows: Tensor,
        others: tuple[Tensor, ...],
        trained: list[Tensor],
        *_: Tensor,
    ) -> tuple[Tensor, Tensor]:
        parameters = [one for one in trained if one is not rows]
        gradients: list[Tensor | None] = [None] * len(parameters)
        row_gradient = torch.empty_like(rows)
        sums = []
        for part in _slices(len(rows), chunk_rows):
            with torch.enable_grad():
                piece = rows[part].detach().requires_grad_()
                columns = score(piece, *(other[part] for other in others)).sum(0)
                found = torch.autograd.grad(columns[0], [piece, *parameters], allow_unused=True)
            row_gradient[part] = found[0]
            for place, one in enumerate(found[1:]):
                held = gradients[place]
                if one is not None:  # a copy: what autograd gives may be somebody else's too
                    gradients[place] = one.clone() if held is None else held.add_(one)
            sums.append(columns.detach())
        totals = torch.stack(sums).sum(0)
        ctx.gradients = ([row_gradient] if rows.requires_grad else []) + gradients
        loss, counted = totals[0], totals[1:].clone()
        ctx.mark_non_differentiable(counted)
        return loss, counted

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *wanted: Tensor) -> Any:
        factor = wanted[0]
        scaled = [None if one is None else one.mul_(factor.to(one.dtype)) for one in ctx.gradients]
        ctx.gradients = None
        return None, None, None, None, None, *scaled


def _score(score: RowScore, rows: Tensor, others: Sequence[Tensor], part: slice) -> Tensor:
    return score(rows[part], *(other[part] for other in others))


def _slices(count: int, size: int) -> Iterator[slice]:
    """All of `count`, `size` at a time; one empty slice of nothing."""
    for start in range(0, max(1, count), size):
        yield slice(start, start + size)
