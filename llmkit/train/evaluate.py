"""Validation: the mean loss of a model over held-out rows, and bits per byte of their text."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.model.transformer import Transformer
from llmkit.train.data import RowSource
from llmkit.train.loss import IGNORED, Batch, build_batch, loss_sum


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts held-out text."""

    loss: float
    """Mean over targets, in nats."""
    bits_per_byte: float | None
    """Of UTF-8 text: comparable between tokenizers. None where the bytes behind the ids are not known."""
    tokens: int


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
    """
    device = next(model.parameters()).device
    nats = count = 0.0
    text_bytes = 0.0
    was_training = model.training
    model.eval()
    try:
        for batch in _batches(rows, batch_rows, limit, document_mask, device):
            with autocast():
                nats += loss_sum(model, batch).item()
            count += batch.count
            if token_bytes is not None:
                text_bytes += _bytes_of(batch.targets, token_bytes)
            between()
    finally:
        model.train(was_training)
    bits = nats / math.log(2) / text_bytes if text_bytes else None
    return Evaluation(nats / max(1, count), bits, int(count))


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
