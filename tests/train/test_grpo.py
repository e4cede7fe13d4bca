"""GRPO against its formulas, token by token in plain Python."""

import math
from dataclasses import replace

import pytest
import torch

from llmkit.errors import UsageError
from llmkit.model.transformer import Transformer
from llmkit.train.cross_entropy import IGNORED
from llmkit.train.grpo import Grpo, GrpoBatch, group_advantages, grpo_losses, k3_kl
from llmkit.train.objective import frozen_reference
from llmkit.train.rollout import Completion, Prompt, build_grpo_batch

CPU = torch.device("cpu")
ADVANTAGES = [1.5, -0.5, 0.25, -1.0]


def make_batch(logps: bool = True) -> GrpoBatch:
    texts = [[4, 5, 6], [7], [8, 9], [10, 11, 12, 13]]
    answers = [Completion(ids, "") for ids in texts]
    prompts = [Prompt([1, 2], {}), Prompt([3], {})]
    batch = build_grpo_batch(prompts, [answers[:2], answers[2:]], torch.tensor(ADVANTAGES), CPU)
    old = torch.zeros(batch.targets.shape)
    old[batch.targets != IGNORED] = torch.tensor([-3.0, -3.5, -4, -3, -2.5, -4.5, -3, -3.5, -3, -4])
    return replace(batch, old_logp=old) if logps else batch


def test_advantages_are_normalised_in_their_group() -> None:
    found = group_advantages(torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
    assert found.tolist() == [pytest.approx([-0.99990, 0.0, 0.99990], abs=1e-5), [0.0, 0.0, 0.0]]


def test_the_ratio_is_clipped_only_where_it_would_gain() -> None:
    logp = torch.log(torch.tensor([1.5, 0.5, 1.5, 0.5, 1.1]))
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0, 2.0])
    losses, ratio = grpo_losses(logp, torch.zeros(5), advantages, clip=0.2)
    assert losses.tolist() == pytest.approx([-1.2, -0.5, 1.5, 0.8, -2.2], abs=1e-6)
    assert ratio.tolist() == pytest.approx([1.5, 0.5, 1.5, 0.5, 1.1], abs=1e-6)


def test_k3_is_0_at_equality_and_never_below() -> None:
    found = k3_kl(torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([-1.0, -2.0, 0.0]))
    assert found.tolist() == pytest.approx([0.0, math.exp(-1), math.e - 2], abs=1e-6)


def slow_loss(model: Transformer, reference: Transformer, batch: GrpoBatch) -> float:
    """The published sums, one answer and one token at a time."""
    table = model(batch.ids).double().log_softmax(-1)
    base = reference(batch.ids).double().log_softmax(-1)
    total = 0.0
    for row in range(len(batch.ids)):
        losses = []
        for place, target in enumerate(batch.targets[row].tolist()):
            if target == IGNORED:
                continue
            logp, other = table[row, place, target].item(), base[row, place, target].item()
            old = logp if batch.old_logp is None else batch.old_logp[row, place].item()
            ratio = math.exp(logp - old)
            low_high = min(max(ratio, 0.8), 1.2)
            gain = min(ratio * ADVANTAGES[row], low_high * ADVANTAGES[row])
            losses.append(-gain + 0.1 * (math.exp(other - logp) - (other - logp) - 1))
        total += sum(losses) / len(losses)
    return total


@pytest.mark.parametrize("logps", [True, False])
def test_the_loss_is_the_published_sum(tiny_model: Transformer, reference: Transformer, logps: bool) -> None:
    batch = make_batch(logps)
    objective = Grpo(frozen_reference(reference), beta=0.1)
    loss, figures = objective.loss_sum(tiny_model, batch)
    assert loss.item() == pytest.approx(slow_loss(tiny_model, reference, batch), abs=1e-5)
    assert objective.units(batch) == 4
    report = objective.report(figures, objective.units(batch))
    assert report["kl"] > 0
    if not logps:
        assert report["ratio"] == 1
        assert report["clipped"] == 0
    parts = batch.split(3)
    assert all(isinstance(part, GrpoBatch) for part in parts)
    assert sum(objective.loss_sum(tiny_model, part)[0].item() for part in parts) == pytest.approx(
        loss.item(), rel=1e-5
    )
    assert sum(objective.units(part) for part in parts) == objective.units(batch)


def test_the_clipped_share_is_of_tokens(tiny_model: Transformer) -> None:
    objective = Grpo(beta=0)
    batch = make_batch()
    table = tiny_model(batch.ids).detach().log_softmax(-1)
    held = 0
    assert batch.old_logp is not None
    for row, place in (batch.targets != IGNORED).nonzero().tolist():
        ratio = math.exp(table[row, place, batch.targets[row, place]] - batch.old_logp[row, place])
        held += ratio > 1.2 if ADVANTAGES[row] > 0 else ratio < 0.8
    figures = objective.loss_sum(tiny_model, batch)[1]
    assert objective.report(figures, 4)["clipped"] == pytest.approx(held / 10)
    assert "kl" not in figures


def test_an_update_makes_the_better_answer_likelier(tiny_model: Transformer) -> None:
    batch = make_batch(False)
    objective = Grpo(beta=0)

    def better() -> float:
        table = tiny_model(batch.ids).detach().log_softmax(-1)
        return float(table[0, 1, 4] - table[1, 1, 7])

    before = better()
    objective.loss_sum(tiny_model, batch)[0].backward()
    with torch.no_grad():
        for one in tiny_model.parameters():
            one -= 0.01 * one.grad if one.grad is not None else 0
    assert better() > before


def test_settings_without_sense_are_refused(tiny_model: Transformer) -> None:
    for settings in ({}, {"beta": -1.0}, {"beta": 0.0, "clip": 0.0}):
        with pytest.raises(UsageError):
            Grpo(**settings)
    plain = vars(make_batch()) | {"advantages": None}
    with pytest.raises(ValueError, match="advantages"):
        Grpo(beta=0).loss_sum(tiny_model, GrpoBatch(**plain))
