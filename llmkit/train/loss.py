"""The next-token loss as a sum over targets, so that parts of a batch add up to the batch.

Shapes: B rows, T seq_len, V vocab_size.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from llmkit.formats.shards import Rows
from llmkit.model.documents import document_starts, has_document_kernel
from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import LogitParts, Transformer
from llmkit.train.cross_entropy import IGNORED, nats


@dataclass(frozen=True)
class Batch:
    """Rows as the model takes them."""

    ids: Tensor
    """(B, T) int64."""
    targets: Tensor
    """(B, T) int64: the id after each one, or IGNORED."""
    segments: Tensor | None
    """(B, T) which document each token belongs to; None where every row is one document."""
    count: int
    """Targets that carry loss."""
    real: Tensor | None = None
    """(B, T) bool: ids that are no padding; None: all."""
    starts: Tensor | None = None
    """Where documents begin, on a device whose attention wants to know: see `document_starts`."""

    @property
    def num_real(self) -> int:
        """Ids that are no padding."""
        return self.ids.numel() if self.real is None else int(self.real.sum())

    def split(self, rows: int) -> list[Self]:
        """Parts of at most `rows` rows."""
        if rows >= len(self.ids):
            return [self]
        return [self._rows(slice(start, start + rows)) for start in range(0, len(self.ids), rows)]

    def _rows(self, rows: slice) -> Self:
        own: dict[str, Any] = {name: one[rows] for name, one in vars(self).items() if isinstance(one, Tensor)}
        own |= {"count": int((own["targets"] != IGNORED).sum()), "starts": _starts(own.get("segments"))}
        return replace(self, **own)


def build_batch(rows: Rows, *, document_mask: bool, device: torch.device) -> Batch:
    """Inputs and targets of some rows.

    A target carries loss where the row says so. With `document_mask`, the first token of a document is no
    target of the document before it, and segments are given so that attention keeps to a document.
    """
    tokens = rows.tokens.astype(np.int64)
    learnt = rows.loss[:, 1:]
    segments = None
    if document_mask:
        learnt = learnt & (rows.segments[:, 1:] == rows.segments[:, :-1])
        if (rows.segments[:, :-1] > 0).any():  # padding (-1) comes last, where causal attention never looks
            segments = torch.from_numpy(rows.segments[:, :-1].astype(np.int64)).to(device)
    targets = tokens[:, 1:]
    padding = rows.segments[:, :-1] < 0
    real = torch.from_numpy(~padding).to(device) if padding.any() else None
    count = int(learnt.sum())
    if count < learnt.size:
        targets = np.where(learnt, targets, IGNORED)
    ids, wanted = (torch.from_numpy(one).to(device) for one in (tokens[:, :-1], targets))
    return Batch(ids, wanted, segments, count, real, _starts(segments))


def _starts(segments: Tensor | None) -> Tensor | None:
    if segments is None or not has_document_kernel(segments.device):
        return None
    return document_starts(segments)


def loss_sum(model: Transformer, batch: Batch, routing: RoutingTape | None = None) -> Tensor:
    """Cross-entropy in nats, summed over the targets that carry loss; float32, no shape.

    Args:
        model: what learns.
        batch: what it is to predict.
        routing: told which experts were chosen.
    """
    logits = model(batch.ids, segments=batch.segments, routing=routing, starts=batch.starts)  # (B, T, V)
    return nats_sum(logits, batch.targets, model.logit_parts)


def nats_sum(logits: Tensor, targets: Tensor, parts: LogitParts | None = None) -> Tensor:
    """Cross-entropy of logits (B, T, V), summed over the targets (B, T) that carry loss.

    Their gradient takes the logits' place.
    """
    if parts is None:
        return nats(logits.view(-1, logits.shape[-1]), targets.reshape(-1), used_up=True).sum()
    log_z, chosen = target_terms(logits, targets, parts)
    return (log_z - chosen).masked_fill(targets.flatten() == IGNORED, 0.0).sum()


def target_terms(logits: Tensor, targets: Tensor, parts: LogitParts | None = None) -> tuple[Tensor, Tensor]:
    """What cross-entropy is the difference of: (B T,) log of the sum of exp(logit), and the target's logit.

    The latter is a number of no meaning where a target carries no loss.
    """
    flat, wanted = logits.flatten(0, 1).float(), targets.flatten()
    if parts is not None:
        return parts.terms(flat, wanted)
    return torch.logsumexp(flat, -1), flat.gather(1, wanted.clamp(min=0).unsqueeze(1)).squeeze(1)
