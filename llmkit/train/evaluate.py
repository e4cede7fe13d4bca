"""Validation: the mean loss of a model over held-out rows, and bits per byte of their text."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.model.transformer import Transformer
from llmkit.train.data import RowSource
from llmkit.train.loss import IGNORED, Batch, build_batch
from llmkit.train.objective import NextToken, Objective


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts held-out text."""

    loss: float
    """Mean over targets, in nats."""
    bits_per_byte: float | None
    """Of UTF-8 text: comparable between tokenizers. None where the bytes behind the ids are not known."""
    tokens: int
    units: int = 0
    """What the mean is over where it is not over targets: pairs, completions."""
    stats: dict[str, float] = field(default_factory=dict)
    """Means over the units of what else the objective tells."""


@torch.no_grad()
def evaluate(
    model: Transformer,
    rows: RowSource,
    *,
    batch_rows: int,
    document_mask: bool,
    autocast: Callable[[], AbstractContextManager[Any]],
    limit: int | None = None,
    token_bytes: NDArray[np.int64] | None = None,
    between: Callable[[], None] = lambda: None,
    objective: Objective | None = None,
) -> Evaluation:
    """Score rows in their order.

    Args:
        model: put back into training mode afterwards.
        rows: what to score.
        batch_rows: rows of one forward pass.
        document_mask: as in training.
        autocast: makes the context of the forward pass.
        limit: the first rows only.
        token_bytes: (V,) UTF-8 bytes that each id stands for; a float where it is a mean.
        between: called between batches; may raise to stop.
        objective: what is scored; None: the next token.
    """
    device = next(model.parameters()).device
    objective = objective or NextToken(chunked=False)
    nats = text_bytes = 0.0
    count = units = 0
    sums: dict[str, float] = {}
    was_training = model.training
    model.eval()
    try:
        for batch in _batches(rows, batch_rows, limit, document_mask, device):
            with autocast():
                now = objective.for_batch(model, batch, batch_rows)
            with autocast():
                loss, told = now.loss_sum(model, batch, None)
            nats += loss.item()
            for name, value in told.items():
                sums[name] = sums.get(name, 0.0) + value
            units += objective.units(batch)
            count += batch.count
            if token_bytes is not None:
                text_bytes += _bytes_of(batch.targets, token_bytes)
            between()
    finally:
        model.train(was_training)
    bits = nats / math.log(2) / text_bytes if text_bytes else None
    return Evaluation(nats / max(1, units), bits, count, units, objective.report(sums, units))


def _batches(
    rows: RowSource, batch_rows: int, limit: int | None, document_mask: bool, device: torch.device
) -> Iterator[Batch]:
    end = len(rows) if limit is None else min(limit, len(rows))
    for start in range(0, end, batch_rows):
        part = rows.read(np.arange(start, min(start + batch_rows, end)))
        yield build_batch(part, document_mask=document_mask, device=device)


def _bytes_of(targets: Tensor, token_bytes: NDArray[np.int64]) -> float:
    ids = targets[targets != IGNORED].cpu().numpy()
    return float(token_bytes[ids].sum())
