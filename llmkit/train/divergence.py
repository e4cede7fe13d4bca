"""How far a model has moved from the one it was: KL(model || base) over the tokens that it learns.

Shapes: n rows of a chunk, V vocab_size.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from llmkit.model.transformer import Transformer
from llmkit.train.data import RowSource
from llmkit.train.distil import distil_losses
from llmkit.train.evaluate import held_out_batches
from llmkit.train.objective import Reference
from llmkit.train.target_scores import head_chunk, learnt_hidden, learnt_places, only_scoring


@torch.no_grad()
def kl_to_base(
    model: Transformer,
    reference: Reference,
    rows: RowSource,
    *,
    batch_rows: int,
    document_mask: bool,
    autocast: Callable[[], AbstractContextManager[Any]],
    limit: int | None = None,
) -> float:
    """Mean over the learnt tokens of KL(model || base) of the next token's distribution, in nats.

    Args:
        model: after training.
        reference: opens the base.
        rows: held-out examples; of pairs, both answers count.
        batch_rows: rows of one forward pass.
        document_mask: as in training.
        autocast: makes the context of the forward pass.
        limit: the first rows only.
    """
    total, count = 0.0, 0
    device = next(model.parameters()).device
    for batch in held_out_batches(rows, batch_rows, limit, document_mask, device):
        places = learnt_places(batch)
        with autocast():
            with only_scoring(model):
                ours = learnt_hidden(model, batch, places)
            with reference(model) as base:
                theirs = learnt_hidden(base, batch, places)
            for low in range(0, len(places), chunk := head_chunk(model)):
                rows_of = slice(low, low + chunk)
                with only_scoring(model):
                    student = model.logits(ours[rows_of]).float()  # (n, V)
                with reference(model) as base:
                    teacher = base.logits(theirs[rows_of]).float()
                total += distil_losses(student, teacher, direction="reverse").sum().item()
        count += len(places)
    return total / max(1, count)
