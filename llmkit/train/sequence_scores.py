"""How likely a model finds each answer of a batch: log-probabilities summed over an answer's learnt tokens.

A row holds answers as its segments: 0, 2, 4 ... are chosen or desirable, 1, 3, 5 ... rejected or undesirable,
and 2k and 2k + 1 are a pair.

Shapes: B rows, T seq_len, N targets that carry loss, S segments of a row (even), P pairs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import Transformer
from llmkit.train.loss import Batch
from llmkit.train.target_scores import learnt_places, target_logps


@dataclass(frozen=True)
class Pairs:
    """Values of the chosen and of the rejected answers: (P,) each, in the order of the rows."""

    chosen: Tensor
    rejected: Tensor


def sequence_logps(model: Transformer, batch: Batch, routing: RoutingTape | None = None) -> Tensor:
    """log p of each answer given its prompt, in nats.

    Returns:
        (B, S) float32; 0 where there is no answer.
    """
    return sum_by_sequence(target_logps(model, batch, routing), batch)


def sequence_tokens(batch: Batch) -> Tensor:
    """(B, S) int64: targets that carry loss, of each answer."""
    ones = torch.ones(batch.count, dtype=torch.int64, device=batch.ids.device)
    return sum_by_sequence(ones, batch)


def sum_by_sequence(values: Tensor, batch: Batch) -> Tensor:
    """Sums over each answer's targets that carry loss.

    Args:
        values: (N,), in the order of `learnt_places`.
        batch: whose targets they are.

    Returns:
        (B, S), of the dtype of the values.
    """
    B = len(batch.ids)
    places = learnt_places(batch)
    if batch.segments is None:
        S = 2
        segment = torch.zeros_like(places)
    else:
        segment = batch.segments.flatten()[places]
        S = max(1, int(batch.segments.max()) + 1)
        S += S % 2
    index = places // batch.ids.shape[1] * S + segment
    sums = torch.zeros(B * S, dtype=values.dtype, device=values.device)
    return sums.index_add(0, index, values).view(B, S)


def num_pairs(batch: Batch) -> int:
    """Pairs in a batch."""
    return int(_present(sequence_tokens(batch)).sum())


def num_sequences(batch: Batch) -> int:
    """Answers in a batch."""
    return int((sequence_tokens(batch) > 0).sum())


def as_pairs(values: Tensor, tokens: Tensor) -> Pairs:
    """Values of answers, pair by pair.

    Args:
        values: (B, S) of each answer.
        tokens: (B, S) `sequence_tokens` of the same batch.

    Raises:
        DataError: one answer of a pair has no token to learn.
    """
    present = _present(tokens)
    values = values.view(len(values), -1, 2)
    return Pairs(values[..., 0][present], values[..., 1][present])


def _present(tokens: Tensor) -> Tensor:
    """(B, S / 2) bool."""
    both = tokens.view(len(tokens), -1, 2) > 0
    present = both.all(-1)
    lonely = (both.any(-1) & ~present).nonzero()
    if len(lonely):
        row, pair = lonely[0].tolist()
        missing = "rejected" if both[row, pair, 0] else "chosen"
        raise DataError(
            f"row {row} of a batch: the {missing} answer of a pair has no token to learn",
            hint="give both answers, or learn from single answers with --method kto",
        )
    return present
