"""GRPO: learn from scored answers of one's own, each against the others to the same prompt.

Shapes: B rows, T seq_len, N targets that carry loss, P prompts, G answers of each.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import Transformer
from llmkit.train.loss import Batch
from llmkit.train.objective import Objective, Reference
from llmkit.train.sequence_scores import num_sequences, sequence_tokens, sum_by_sequence
from llmkit.train.target_scores import learnt_places, target_logps

_TINY = 1e-4  # what trl adds to the deviation; the paper adds nothing


def group_advantages(rewards: Tensor) -> Tensor:
    """How much better than its group each answer is: (r - mean) / (deviation + 1e-4).

    (2402.03300, section 4.1.2.) The deviation is the sample's (divided by G - 1), as in trl. Where all
    answers of a group are scored alike, its advantages are 0.

    Args:
        rewards: (P, G), G at least 2.
    """
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + _TINY)


def grpo_losses(logp: Tensor, old_logp: Tensor, advantages: Tensor, *, clip: float) -> tuple[Tensor, Tensor]:
    """PPO's clipped loss of each token (1707.06347, equation 7): -min(ratio A, clipped ratio A).

    Args:
        logp: (N,) of the model in training.
        old_logp: (N,) of the model that wrote the answers.
        advantages: (N,) A.
        clip: the ratio is held between 1 - clip and 1 + clip.

    Returns:
        (N,) losses, and (N,) ratios.
    """
    ratio = (logp - old_logp).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantages, clipped * advantages), ratio


def k3_kl(logp: Tensor, reference: Tensor) -> Tensor:
    """Estimate of KL(pi || ref) from a token that pi drew: r - log r - 1 with r = ref / pi.

    (2402.03300, equation 4.)
    """
    log_ratio = reference - logp
    return log_ratio.exp() - log_ratio - 1


@dataclass(frozen=True)
class GrpoBatch(Batch):
    """Answers, one a row, and what was made of them."""

    advantages: Tensor | None = None
    """(B, T) float32, of each target that carries loss."""
    old_logp: Tensor | None = None
    """(B, T) float32: log p of those targets as they were written. None: that of the model as it is."""


@dataclass(frozen=True)
class Grpo(Objective):
    """Make answers with an advantage likelier, within the clip, and stay near the reference.

    The losses of an answer's tokens are averaged, and answers are averaged (2402.03300, equation 3): a token
    of a long answer weighs less. A unit is an answer.
    """

    reference: Reference | None = None
    """Needed where beta is above 0."""
    beta: float = 0.04
    """Weight of the KL to the reference; 0.04 is the paper's."""
    clip: float = 0.2
    temperature: float = 1.0
    """At which the answers were drawn."""

    def __post_init__(self) -> None:
        if self.beta < 0 or (self.beta and self.reference is None):
            raise UsageError(
                f"beta {self.beta:g} without a reference"
                if self.beta > 0
                else f"beta {self.beta:g} is below 0",
                hint="beta 0 needs no reference",
            )
        if not 0 < self.clip < 1:
            raise UsageError(f"clip {self.clip:g} is not between 0 and 1", hint="0.2 is usual")

    def units(self, batch: Batch) -> int:
        return num_sequences(batch)

    def loss_sum(
        self, model: Transformer, part: Batch, tape: RoutingTape | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        if not isinstance(part, GrpoBatch) or part.advantages is None:
            raise ValueError("a batch without advantages")
        places = learnt_places(part)
        advantages = part.advantages.flatten()[places]
        base = None
        if self.beta and self.reference is not None:
            with self.reference(model) as reference:
                base = target_logps(reference, part, temperature=self.temperature)
        logp = target_logps(model, part, tape, temperature=self.temperature)
        old = logp.detach() if part.old_logp is None else part.old_logp.flatten()[places]
        losses, ratio = grpo_losses(logp, old, advantages, clip=self.clip)
        clipped = -losses.detach() != (ratio * advantages).detach()
        figures = {
            "tokens": float(part.count),
            "ratio": ratio.detach().sum().item(),
            "clipped": float(clipped.sum().item()),
        }
        if base is not None:
            kl = k3_kl(logp, base)
            losses = losses + self.beta * kl
            figures["kl"] = kl.detach().sum().item()
        return (sum_by_sequence(losses, part) / sequence_tokens(part).clamp(min=1)).sum(), figures

    def report(self, sums: dict[str, float], units: int) -> dict[str, float]:
        """Means over the tokens, whatever a unit is; `clipped` is the share that learns nothing."""
        del units
        return {
            name: sums[name] / max(1.0, sums["tokens"]) for name in ("ratio", "clipped", "kl") if name in sums
        }
