"""Validation: the mean loss of a model over held-out rows, and bits per byte of their text."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from llmkit.model.transformer import Transformer
from llmkit.tokens.text_sizes import TextSizes
from llmkit.train.cross_entropy import IGNORED
from llmkit.train.data import RowSource
from llmkit.train.loss import Batch, build_batch
from llmkit.train.objective import NextToken, Objective
from llmkit.train.parallel.divided import Divided
from llmkit.train.parallel.ranks import WHOLE_BATCH, Share
from llmkit.train.parallel.row_cut import cut_rows


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
    model: Transformer | Divided,
    rows: RowSource,
    *,
    batch_rows: int,
    document_mask: bool,
    autocast: Callable[[], AbstractContextManager[Any]],
    limit: int | None = None,
    sizes: TextSizes | None = None,
    between: Callable[[], None] = lambda: None,
    objective: Objective | None = None,
) -> Evaluation:
    """Score rows in their order.

    Args:
        model: put back into training mode afterwards. One that is divided over processes is scored by all of
            them, each a share of every batch.
        rows: what to score.
        batch_rows: rows of one forward pass.
        document_mask: as in training.
        autocast: makes the context of the forward pass.
        limit: the first rows only.
        sizes: UTF-8 bytes of text behind the ids.
        between: called between batches; may raise to stop.
        objective: what is scored; None: the next token.
    """
    divided = model if isinstance(model, Divided) else Divided(model)
    model, ranks = divided.model, divided.ranks
    device = next(model.parameters()).device
    objective = objective or NextToken(chunked=False)
    nats = text_bytes = 0.0
    count = units = 0
    sums: dict[str, float] = {}
    was_training = model.training
    model.eval()
    try:
        held_out = held_out_batches(rows, batch_rows, limit, document_mask, device, ranks.share)
        for whole in held_out:
            batch = cut_rows(whole, ranks.cut)
            with autocast():
                now = objective.for_batch(model, batch, batch_rows)
            with autocast():
                loss, told = _loss_sum(divided, now, batch)
            nats += loss
            for name, value in told.items():
                sums[name] = sums.get(name, 0.0) + value
            units += objective.units(batch)
            count += batch.count
            if sizes is not None:
                text_bytes += _bytes_of(batch, sizes)
            between()
    finally:
        model.train(was_training)
    nats, text_bytes, *told_sums = ranks.sum([nats, text_bytes, *sums.values()])
    count, units = (int(total) for total in ranks.sum([count, units]))
    sums = dict(zip(sums, told_sums, strict=True))
    bits = nats / math.log(2) / text_bytes if text_bytes else None
    return Evaluation(nats / max(1, units), bits, count, units, objective.report(sums, units))


def _loss_sum(divided: Divided, objective: Objective, batch: Batch) -> tuple[float, dict[str, float]]:
    if divided.pipeline is not None:
        assert isinstance(objective, NextToken)
        return divided.pipeline.score(objective, batch), {}
    loss, told = divided.loss_pass(objective, batch)
    return loss.item(), told


def held_out_batches(
    rows: RowSource,
    batch_rows: int,
    limit: int | None,
    document_mask: bool,
    device: torch.device,
    share: Share = WHOLE_BATCH,
) -> Iterator[Batch]:
    """This process's part of each batch of `batch_rows`, in the order of the rows; `limit`: the first only.

    Of several processes, all have as many batches of as many rows: what runs out is filled up with rows that
    do not count.
    """
    end = len(rows) if limit is None else min(limit, len(rows))
    each = -(-min(batch_rows, end) // share.count)
    for start in range(0, end, each * share.count):
        wanted = np.arange(each) + start + share.index * each
        if share.count == 1:
            wanted = wanted[wanted < end]
        part = rows.read(np.minimum(wanted, end - 1))
        batch = build_batch(part, document_mask=document_mask, device=device)
        if wanted[-1] >= end:
            targets = batch.targets.masked_fill(torch.from_numpy(wanted >= end)[:, None].to(device), IGNORED)
            batch = replace(batch, targets=targets, count=int((targets != IGNORED).sum()))
        yield batch


def _bytes_of(batch: Batch, sizes: TextSizes) -> float:
    learnt = batch.targets != IGNORED
    targets, before = (ids[learnt].cpu().numpy() for ids in (batch.targets, batch.ids))
    return sizes.total(targets, sizes.opens_after(before))
