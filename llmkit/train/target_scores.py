"""What a model says of the targets that carry loss, and of no others, its logits never held whole.

Shapes: B rows, T seq_len, N targets that carry loss, D hidden_size, V vocab_size.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import Transformer
from llmkit.train.chunked_rows import row_scores, row_totals, rows_per_chunk
from llmkit.train.cross_entropy import IGNORED, nats
from llmkit.train.loss import Batch


def learnt_places(batch: Batch) -> Tensor:
    """(N,) where the targets that carry loss are, counted through the rows."""
    return (batch.targets.flatten() != IGNORED).nonzero().squeeze(1)


def learnt_hidden(
    model: Transformer, batch: Batch, places: Tensor, routing: RoutingTape | None = None
) -> Tensor:
    """(N, D) what the head reads where a target carries loss."""
    hidden = model.hidden(batch.ids, segments=batch.segments, routing=routing, starts=batch.starts)
    return hidden.flatten(0, 1).index_select(0, places)


def head_parameters(model: Transformer) -> list[Tensor]:
    """What of the head is trained; with tied embeddings that is the embedding matrix."""
    modules = [model.lm_head, *([model.model.embed_tokens] if model.config.tie_word_embeddings else [])]
    return [one for module in modules for one in module.parameters() if one.requires_grad]


def head_chunk(model: Transformer) -> int:
    """Rows whose logits make a chunk."""
    return rows_per_chunk(model.config.vocab_size)


def target_logps(
    model: Transformer, batch: Batch, routing: RoutingTape | None = None, *, temperature: float = 1.0
) -> Tensor:
    """log p of each target that carries loss, in nats.

    Args:
        model: what scores.
        batch: what is scored.
        routing: told which experts were chosen.
        temperature: what the logits are divided by.

    Returns:
        (N,) float32, in the order of `learnt_places`.
    """

    def score(rows: Tensor, targets: Tensor) -> Tensor:
        logits = model.logits(rows)
        return -nats(logits if temperature == 1.0 else logits.float() / temperature, targets)

    places = learnt_places(batch)
    rows = learnt_hidden(model, batch, places, routing)
    targets = batch.targets.flatten()[places]
    return row_scores(score, rows, [targets], parameters=head_parameters(model), chunk_rows=head_chunk(model))


def written_logps(model: Transformer, batch: Batch, rows: int, *, temperature: float) -> Tensor:
    """log p of each target as the model is now, without learning.

    Args:
        model: what scores.
        batch: what is scored.
        rows: at once.
        temperature: what the logits are divided by.

    Returns:
        (B, T) float32, 0 where there is no loss.
    """
    parts = []
    with only_scoring(model):
        for part in batch.split(rows):
            logps = torch.zeros(part.targets.numel(), device=part.targets.device)
            logps[learnt_places(part)] = target_logps(model, part, temperature=temperature)
            parts.append(logps.view(part.targets.shape))
    return torch.cat(parts)


def target_nats(model: Transformer, batch: Batch, routing: RoutingTape | None = None) -> Tensor:
    """Cross-entropy in nats, summed over the targets that carry loss: `loss_sum` in less memory."""

    def score(rows: Tensor, targets: Tensor) -> Tensor:
        return nats(model.logits(rows), targets, used_up=True).unsqueeze(1)

    places = learnt_places(batch)
    rows = learnt_hidden(model, batch, places, routing)
    targets = batch.targets.flatten()[places]
    total, _ = row_totals(
        score, rows, [targets], parameters=head_parameters(model), chunk_rows=head_chunk(model)
    )
    return total


@contextmanager
def only_scoring(model: Transformer) -> Iterator[Transformer]:
    """A model that answers and does not learn: no gradients, no dropout.

    Autocast keeps no copies meanwhile: one made here has no gradient, and would be taken for the one that has
    when the same weights learn in the same context.
    """
    device = next(model.parameters()).device.type
    was_training = model.training
    model.eval()
    try:
        with (
            torch.no_grad(),
            torch.autocast(
                device,
                dtype=torch.get_autocast_dtype(device),
                enabled=torch.is_autocast_enabled(device),
                cache_enabled=False,
            ),
        ):
            yield model
    finally:
        model.train(was_training)
