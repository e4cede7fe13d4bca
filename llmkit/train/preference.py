"""Losses on pairs of a chosen and a rejected answer: DPO and its kin, ORPO, SimPO.

pi is the model in training, ref the one that it is compared with, w the chosen and l the rejected answer.
Falling log-probabilities of chosen answers are normal: only the margin is learnt.

Shapes: P pairs.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from llmkit.errors import UsageError
from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import Transformer
from llmkit.train.loss import Batch
from llmkit.train.objective import Objective, Reference
from llmkit.train.sequence_scores import Pairs, as_pairs, num_pairs, sequence_logps, sequence_tokens

DpoForm = Literal["sigmoid", "ipo", "hinge", "robust"]


def dpo_losses(
    ratios: Pairs,
    tokens: Pairs,
    *,
    beta: float,
    form: DpoForm = "sigmoid",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Loss of each pair; m is log pi(w) / ref(w) - log pi(l) / ref(l), e the label smoothing.

    sigmoid: -(1 - e) log sigmoid(beta m) - e log sigmoid(-beta m): DPO (2305.18290, equation 7); with e > 0
        cDPO (E. Mitchell, "A note on DPO with noisy preferences", equation 3): a label is wrong with
        probability e.
    robust: (-(1 - e) log sigmoid(beta m) + e log sigmoid(-beta m)) / (1 - 2 e): unbiased where a share e of
        the labels is flipped (rDPO, 2403.00409).
    hinge: max(0, 1 - beta m): SLiC-HF's (2305.10425), on DPO's rewards.
    ipo: (m - 1 / (2 beta))^2 (2310.12036, equation 17), where each log ratio in m is a mean over the answer's
        tokens, as in the paper's experiments according to its authors (says trl, which does so too).

    Args:
        ratios: log pi / ref of each answer, summed over its tokens.
        tokens: how many those are.
        beta: how strongly the model is held to the reference.
        form: which loss.
        label_smoothing: e, for sigmoid and robust.

    Returns:
        (P,).
    """
    if form == "ipo":
        margin = ratios.chosen / tokens.chosen - ratios.rejected / tokens.rejected
        return (margin - 1 / (2 * beta)).square()
    logits = beta * (ratios.chosen - ratios.rejected)
    if form == "hinge":
        return torch.relu(1 - logits)
    right, wrong = -F.logsigmoid(logits), -F.logsigmoid(-logits)
    if form == "robust":
        return ((1 - label_smoothing) * right - label_smoothing * wrong) / (1 - 2 * label_smoothing)
    return (1 - label_smoothing) * right + label_smoothing * wrong


def orpo_losses(means: Pairs, *, beta: float) -> tuple[Tensor, Tensor]:
    """ORPO (2403.07691, equations 3 to 7): -log P(w) - beta log sigmoid(log odds(w) - log odds(l)).

    log P is the mean over an answer's tokens and odds = P / (1 - P); beta is the paper's lambda.

    Args:
        means: log P of each answer.
        beta: weight of the odds ratio.

    Returns:
        (P,) losses, and (P,) log odds ratios.
    """
    ratio = _log_odds(means.chosen) - _log_odds(means.rejected)
    return -means.chosen - beta * F.logsigmoid(ratio), ratio


def simpo_losses(means: Pairs, *, beta: float, gamma: float, label_smoothing: float = 0.0) -> Tensor:
    """SimPO (2405.14734, equation 6): -log sigmoid(beta log P(w) - beta log P(l) - gamma), log P as in ORPO.

    Label smoothing weighs it against the loss of the flipped label, as trl's does.

    Returns:
        (P,).
    """
    logits = beta * (means.chosen - means.rejected) - gamma
    return -(1 - label_smoothing) * F.logsigmoid(logits) - label_smoothing * F.logsigmoid(-logits)


@dataclass(frozen=True)
class Dpo(Objective):
    """Prefer the chosen answer more than the reference does; see `dpo_losses`. A unit is a pair."""

    reference: Reference
    beta: float = 0.1
    form: DpoForm = "sigmoid"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        _check(self.beta, self.label_smoothing)
        if self.label_smoothing and self.form not in ("sigmoid", "robust"):
            raise UsageError(
                f"label smoothing {self.label_smoothing:g} with the {self.form} loss: it has none",
                hint="use the sigmoid or the robust loss, or leave label smoothing out",
            )

    def units(self, batch: Batch) -> int:
        return num_pairs(batch)

    def loss_sum(
        self, model: Transformer, part: Batch, tape: RoutingTape | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        with self.reference(model) as reference:
            base = sequence_logps(reference, part)
        logp, tokens = sequence_logps(model, part, tape), sequence_tokens(part)
        ratios = as_pairs(logp - base, tokens)
        losses = dpo_losses(
            ratios,
            as_pairs(tokens, tokens),
            beta=self.beta,
            form=self.form,
            label_smoothing=self.label_smoothing,
        )
        return losses.sum(), _figures(as_pairs(logp, tokens), ratios, self.beta)


@dataclass(frozen=True)
class Orpo(Objective):
    """Learn the chosen answer, and its odds against the rejected one; no reference. A unit is a pair.

    The chosen answer's loss is the mean over its own tokens, pair by pair; trl's is one mean over all tokens
    of all chosen texts, prompts included. Log-probabilities in the figures are means over tokens.
    """

    beta: float = 0.1

    def __post_init__(self) -> None:
        _check(self.beta, 0.0)

    def units(self, batch: Batch) -> int:
        return num_pairs(batch)

    def loss_sum(
        self, model: Transformer, part: Batch, tape: RoutingTape | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        means = _mean_logps(model, part, tape)
        losses, ratio = orpo_losses(means, beta=self.beta)
        figures = _figures(means, means, self.beta)
        figures["nll"] = -means.chosen.sum().item()
        figures["log_odds_ratio"] = ratio.sum().item()
        return losses.sum(), figures


@dataclass(frozen=True)
class Simpo(Objective):
    """Prefer the chosen answer, token by token, by a margin; no reference. A unit is a pair.

    Log-probabilities in the figures are means over tokens.
    """

    beta: float = 2.0
    gamma: float = 1.0
    """How far ahead the chosen answer's reward should be; the paper tries 0.3 to 1.6."""
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        _check(self.beta, self.label_smoothing)

    def units(self, batch: Batch) -> int:
        return num_pairs(batch)

    def loss_sum(
        self, model: Transformer, part: Batch, tape: RoutingTape | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        means = _mean_logps(model, part, tape)
        losses = simpo_losses(means, beta=self.beta, gamma=self.gamma, label_smoothing=self.label_smoothing)
        return losses.sum(), _figures(means, means, self.beta)


def _mean_logps(model: Transformer, part: Batch, tape: RoutingTape | None) -> Pairs:
    tokens = sequence_tokens(part)
    return as_pairs(sequence_logps(model, part, tape) / tokens.clamp(min=1), tokens)


def _figures(logps: Pairs, scores: Pairs, beta: float) -> dict[str, float]:
    """Sums over the pairs; rewards are beta times the scores."""
    chosen, rejected = beta * scores.chosen.detach(), beta * scores.rejected.detach()
    return {
        "chosen_logp": logps.chosen.sum().item(),
        "rejected_logp": logps.rejected.sum().item(),
        "chosen_reward": chosen.sum().item(),
        "rejected_reward": rejected.sum().item(),
        "reward_margin": (chosen - rejected).sum().item(),
        "reward_accuracy": float((chosen > rejected).sum().item()),
    }


def _log_odds(logp: Tensor) -> Tensor:
    """log(p / (1 - p)); p is taken as at most 1 - 1e-6, where the odds have no end."""
    logp = logp.clamp(max=-1e-6)
    near_one = (-torch.expm1(logp)).log()
    return logp - torch.where(logp > -0.6931, near_one, torch.log1p(-logp.exp()))


def _check(beta: float, label_smoothing: float) -> None:
    if not beta > 0:
        raise UsageError(f"beta {beta:g} is not above 0", hint="0.1 is usual, 2 for simpo")
    if not 0 <= label_smoothing < 0.5:
        raise UsageError(
            f"label smoothing {label_smoothing:g} is not from 0 to below 0.5",
            hint="it is the share of labels that are wrong: 0.1 for one in ten",
        )
