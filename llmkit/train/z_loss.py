"""The next-token loss with a z-loss: logits cannot all drift away together (PaLM, 2204.02311, section 5).

Shapes: N targets that carry loss, V vocab_size.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import LogitParts, Transformer
from llmkit.train.config import Recipe
from llmkit.train.cross_entropy import IGNORED
from llmkit.train.loss import Batch, target_terms
from llmkit.train.objective import NextToken


@dataclass(frozen=True, kw_only=True)
class NextTokenWithZLoss(NextToken):
    """Cross-entropy, learnt from together with coefficient * (log Z)^2, Z the sum of exp(logit) of a target.

    The loss that is told is cross-entropy alone; `z_loss` beside it is what was added, a mean over targets.
    """

    chunked: bool = False
    coefficient: float

    told: ClassVar[tuple[str, ...]] = ("z_loss",)

    def loss_sum(
        self, model: Transformer, part: Batch, tape: RoutingTape | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        logits = model(part.ids, segments=part.segments, routing=tape, starts=part.starts)
        return self.of_logits(logits, part.targets, model.logit_parts)

    def of_logits(
        self, logits: Tensor, targets: Tensor, parts: LogitParts | None
    ) -> tuple[Tensor, dict[str, float]]:
        if not torch.is_grad_enabled():
            return super().of_logits(logits, targets, parts)
        log_z, chosen = target_terms(logits, targets, parts)
        counts = targets.flatten() != IGNORED
        loss = (log_z - chosen).masked_fill(~counts, 0.0).sum()
        z_loss = self.coefficient * log_z.square().masked_fill(~counts, 0.0).sum()
        return loss + (z_loss - z_loss.detach()), {"z_loss": z_loss.item()}


def next_token(recipe: Recipe) -> NextToken:
    """What a recipe of pretraining learns from."""
    return NextTokenWithZLoss(coefficient=recipe.z_loss) if recipe.z_loss else NextToken(chunked=False)
