"""Knowledge distillation: learn a teacher's probabilities of each next token.

Shapes: n rows of a chunk, V vocab_size.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from llmkit.errors import ConfigError, UsageError
from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import Transformer
from llmkit.train.chunked_rows import row_totals
from llmkit.train.loss import Batch
from llmkit.train.objective import Objective
from llmkit.train.target_scores import (
    head_chunk,
    head_parameters,
    learnt_hidden,
    learnt_places,
    only_scoring,
)

Direction = Literal["forward", "reverse"]


def distil_losses(
    student: Tensor, teacher: Tensor, *, temperature: float = 1.0, direction: Direction = "forward"
) -> Tensor:
    """T^2 KL of the two distributions at temperature T (Hinton et al., 1503.02531, section 2).

    T^2 keeps the size of the gradient as T changes. forward: KL(teacher || student), Hinton's cross-entropy
    less what does not depend on the student. reverse: KL(student || teacher) (MiniLLM, 2306.08543), here on
    given text, not on the student's own.

    Args:
        student: (n, V) logits.
        teacher: (n, V) logits.
        temperature: T.
        direction: which of the two is the expectation's.

    Returns:
        (n,) nats.
    """
    log_student = (student / temperature).log_softmax(-1)
    log_teacher = (teacher / temperature).log_softmax(-1)
    of, against = (log_teacher, log_student) if direction == "forward" else (log_student, log_teacher)
    return temperature**2 * (of.exp() * (of - against)).sum(-1)


@dataclass(frozen=True)
class Distil(Objective):
    """Learn the teacher's distribution at each learnt token, and with a weight the token itself.

    A unit is a learnt token. Its loss is (1 - hard_weight) KL + hard_weight cross-entropy. The figure `kl`
    has the factor T^2 in it.
    """

    teacher: Transformer
    """With the same vocabulary; it is not trained."""
    temperature: float = 1.0
    direction: Direction = "forward"
    hard_weight: float = 0.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UsageError(f"temperature {self.temperature:g} is not above 0", hint="1 to 4 is usual")
        if not 0 <= self.hard_weight <= 1:
            raise UsageError(f"weight {self.hard_weight:g} is not from 0 to 1", hint="0.5 weighs both alike")

    def units(self, batch: Batch) -> int:
        return batch.count

    def for_batch(self, model: Transformer, batch: Batch, micro_batch_rows: int) -> "Distil":
        del batch, micro_batch_rows
        ours, theirs = model.config.vocab_size, self.teacher.config.vocab_size
        if ours != theirs:
            raise ConfigError(
                f"the teacher has {theirs:,} tokens and the model {ours:,}",
                hint="distil from a model with the same tokenizer",
            )
        return self

    def loss_sum(
        self, model: Transformer, part: Batch, tape: RoutingTape | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        def score(rows: Tensor, told: Tensor, targets: Tensor) -> Tensor:
            student = model.logits(rows).float()
            with torch.no_grad():
                teacher = self.teacher.logits(told).float()
            kl = distil_losses(student, teacher, temperature=self.temperature, direction=self.direction)
            nll = F.cross_entropy(student, targets, reduction="none")
            loss = (1 - self.hard_weight) * kl + self.hard_weight * nll
            return torch.stack([loss, kl.detach(), nll.detach()], 1)

        places = learnt_places(part)
        with only_scoring(self.teacher) as teacher:
            told = learnt_hidden(teacher, part, places)
        rows = learnt_hidden(model, part, places, tape)
        targets = part.targets.flatten()[places]
        loss, counted = row_totals(
            score, rows, [told, targets], parameters=head_parameters(model), chunk_rows=head_chunk(model)
        )
        kl, nll = counted.tolist()
        return loss, {"kl": kl, "nll": nll}
