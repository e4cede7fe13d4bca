"""KTO: learn from single answers that are each good or bad, against how far the model has moved altogether.

Shapes: B rows, S segments of a row, C answers (completions).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import Transformer
from llmkit.train.cross_entropy import IGNORED
from llmkit.train.loss import Batch, build_batch
from llmkit.train.objective import Objective, Reference
from llmkit.train.pair_rows import Tokens, build_rows
from llmkit.train.sequence_scores import num_sequences, sequence_logps, sequence_tokens
from llmkit.train.target_scores import only_scoring

_SHARES = ("logp", "reward")


def kto_losses(
    ratios: Tensor, desirable: Tensor, kl: Tensor | float, *, beta: float, weights: tuple[float, float]
) -> Tensor:
    """KTO (2402.01306, equations 7 and 8), r being log pi / ref of an answer.

    desirable: weight (1 - sigmoid(beta (r - kl))); undesirable: weight (1 - sigmoid(beta (kl - r))).

    Args:
        ratios: (C,) r.
        desirable: (C,) bool.
        kl: the paper's z0, at least 0; it carries no gradient.
        beta: how fast the value of a gain levels off.
        weights: of desirable and undesirable answers.

    Returns:
        (C,).
    """
    gain = torch.where(desirable, ratios - kl, kl - ratios)
    weight = torch.where(desirable, weights[0], weights[1])
    return weight * (1 - torch.sigmoid(beta * gain))


@dataclass(frozen=True)
class Kto(Objective):
    """Make good answers likelier and bad ones less likely. A unit is an answer.

    z0 estimates KL(pi || ref) from answers given to another's prompt: each prompt of the batch with the
    answer before it, the first with the last (trl's order; the paper's is the reverse), the mean of
    log pi / ref, and 0 where that is below. It is of the whole batch, so that micro-batches do not change it.
    """

    reference: Reference
    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    longest: int | None = None
    """Tokens of a prompt with another's answer, at most; None: as many as they have."""
    kl: float | None = None
    """z0 of the batch; `for_batch` fills it in."""

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise UsageError(f"beta {self.beta:g} is not above 0", hint="0.1 is usual")
        if min(self.desirable_weight, self.undesirable_weight) < 0:
            raise UsageError("a weight of answers is below 0", hint="1 for both is usual")

    def units(self, batch: Batch) -> int:
        return num_sequences(batch)

    def for_batch(self, model: Transformer, batch: Batch, micro_batch_rows: int) -> "Kto":
        total, count = 0.0, 0
        for part in mismatched(batch, self.longest).split(micro_batch_rows):
            with only_scoring(model):
                logp = sequence_logps(model, part)
            with self.reference(model) as reference:
                ratios = logp - sequence_logps(reference, part)
            total += ratios.sum().item()
            count += len(part.ids)
        return replace(self, kl=max(0.0, total / count))

    def loss_sum(
        self, model: Transformer, part: Batch, tape: RoutingTape | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        if self.kl is None:
            raise ValueError("the KL of the batch is not known: call for_batch first")
        with self.reference(model) as reference:
            base = sequence_logps(reference, part)
        all_logps = sequence_logps(model, part, tape)
        present = sequence_tokens(part) > 0
        logp = all_logps[present]
        ratios = logp - base[present]
        desirable = (torch.arange(present.shape[1], device=logp.device) % 2 == 0).expand_as(present)[present]
        weights = (self.desirable_weight, self.undesirable_weight)
        losses = kto_losses(ratios, desirable, self.kl, beta=self.beta, weights=weights)
        figures = {"kl": self.kl * len(losses)}
        for name, chosen in (("desirable", desirable), ("undesirable", ~desirable)):
            figures[name] = float(chosen.sum().item())
            figures[f"{name}_logp"] = logp[chosen].sum().item()
            figures[f"{name}_reward"] = self.beta * ratios[chosen].sum().item()
        return losses.sum(), figures

    def report(self, sums: dict[str, float], units: int) -> dict[str, float]:
        """Means over the answers of each kind; `desirable` is the share of those. A kind that is absent, and
        then the margin, is left out."""
        means = {"kl": sums["kl"] / max(1, units), "desirable": sums["desirable"] / max(1, units)}
        for name in ("desirable", "undesirable"):
            if count := sums[name]:
                means |= {f"{name}_{what}": sums[f"{name}_{what}"] / count for what in _SHARES}
        if sums["desirable"] and sums["undesirable"]:
            means["reward_margin"] = means["desirable_reward"] - means["undesirable_reward"]
        return means


def mismatched(batch: Batch, longest: int | None = None) -> Batch:
    """Each prompt of a batch with the answer before it, the first with the last: (C, ...), one a row.

    The prompt is what comes before the first token that is learnt.

    Args:
        batch: prompts with their own answers.
        longest: ids of a prompt and an answer, at most: what is longer is cut.

    Raises:
        UsageError: one answer only, which has no other.
    """
    answers = _answers(batch)
    if len(answers) < 2:
        raise UsageError(
            "a batch of one answer: KTO compares answers of the same batch",
            hint="use a larger --batch-tokens",
        )
    rows = []
    for number, (ids, learnt) in enumerate(answers):
        other_ids, other_learnt = answers[number - 1]
        prompt, answer = learnt.index(True), other_learnt.index(True)
        joined = Tokens(
            (ids[:prompt] + other_ids[answer:])[:longest],
            ([False] * prompt + other_learnt[answer:])[:longest],
        )
        rows.append([(0, joined)])
    return build_batch(build_rows(rows), document_mask=True, device=batch.ids.device)


def _answers(batch: Batch) -> list[tuple[list[int], list[bool]]]:
    """Ids and mask of every segment that has something to learn, in the order of the rows."""
    ids, targets = batch.ids.cpu().numpy(), batch.targets.cpu().numpy()
    segments = np.zeros_like(ids) if batch.segments is None else batch.segments.cpu().numpy()
    found = []
    for row in range(len(ids)):
        for segment in range(int(segments[row].max()) + 1):
            places = np.flatnonzero(segments[row] == segment)
            after = targets[row][places]
            if not (after != IGNORED).any():
                continue
            tokens = ids[row][places].tolist()
            learnt = [False, *(after != IGNORED).tolist()]
            tokens.append(int(after[-1]))  # past the last input: known only where it is learnt
            if after[-1] == IGNORED:
                tokens.pop()
                learnt.pop()
            found.append((tokens, learnt))
    return found
