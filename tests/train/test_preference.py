"""Losses of pairs against numbers worked out by hand, and objectives against their losses on whole models."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.model.transformer import Transformer
from llmkit.train.loss import Batch, build_batch
from llmkit.train.objective import Objective, Reference, frozen_reference
from llmkit.train.pair_rows import PairRows
from llmkit.train.preference import Dpo, Orpo, Simpo, dpo_losses, orpo_losses, simpo_losses
from llmkit.train.sequence_scores import Pairs, sequence_logps, sequence_tokens
from llmkit.workflows.bench.peer import as_transformers

CPU = torch.device("cpu")
RATIOS = Pairs(torch.tensor([1.0, -2.0]), torch.tensor([-0.5, 3.0]))
TOKENS = Pairs(torch.tensor([4, 2]), torch.tensor([1, 5]))
MEANS = Pairs(torch.tensor([-0.5, -2.0]), torch.tensor([-1.5, -0.25]))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # margins 1.5 and -5, beta 0.1: log(1 + exp(-0.15)) and log(1 + exp(0.5))
        ({}, [0.6209572, 0.9740770]),
        # 0.9 of those and 0.1 of the flipped ones, 0.7709572 and 0.4740770
        ({"label_smoothing": 0.1}, [0.6359572, 0.9240770]),
        # (0.9 a - 0.1 b) / 0.8
        ({"form": "robust", "label_smoothing": 0.1}, [0.6022072, 1.0365770]),
        ({"form": "robust"}, [0.6209572, 0.9740770]),
        ({"form": "hinge"}, [0.85, 1.5]),
        # per token 0.25 + 0.5 = 0.75 and -1 - 0.6 = -1.6; less 1 / 0.2 = 5, squared
        ({"form": "ipo"}, [18.0625, 43.56]),
    ],
)
def test_dpo_and_its_kin_are_as_worked_out_by_hand(settings: dict[str, Any], expected: list[float]) -> None:
    found = dpo_losses(RATIOS, TOKENS, beta=0.1, **settings)
    assert found.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_orpo_is_the_chosen_answer_and_the_odds() -> None:
    losses, ratios = orpo_losses(MEANS, beta=0.2)
    for place, (chosen, rejected) in enumerate(((-0.5, -1.5), (-2.0, -0.25))):
        p, q = math.exp(chosen), math.exp(rejected)
        ratio = math.log((p / (1 - p)) / (q / (1 - q)))
        assert ratios[place].item() == pytest.approx(ratio, abs=1e-6)
        assert losses[place].item() == pytest.approx(-chosen - 0.2 * math.log(sigmoid(ratio)), abs=1e-6)


@pytest.mark.parametrize("logp", [0.0, -1e-7, -0.69, -0.7, -50.0])
def test_orpo_stays_finite_from_certain_to_impossible(logp: float) -> None:
    means = Pairs(torch.tensor([logp], requires_grad=True), torch.tensor([-1.0]))
    losses, _ = orpo_losses(means, beta=0.1)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert means.chosen.grad is not None
    assert means.chosen.grad.isfinite().all()


def test_simpo_wants_a_margin() -> None:
    found = simpo_losses(MEANS, beta=2.0, gamma=1.0)  # 2 * 1 - 1 = 1 and 2 * -1.75 - 1 = -4.5
    assert found.tolist() == pytest.approx([0.3132617, 4.5110477], abs=1e-6)
    smooth = simpo_losses(MEANS, beta=2.0, gamma=1.0, label_smoothing=0.1)
    assert smooth.tolist() == pytest.approx([0.4132617, 4.0610477], abs=1e-6)


def every(reference: Reference) -> list[Objective]:
    forms = [Dpo(reference, form=form) for form in ("sigmoid", "ipo", "hinge", "robust")]  # type: ignore[arg-type]
    return [*forms, Dpo(reference, label_smoothing=0.2), Orpo(), Simpo()]


def batch_of(pairs: PairRows) -> Batch:
    return build_batch(pairs.read(np.arange(len(pairs))), document_mask=True, device=CPU)


def gradient(model: Transformer, loss: Tensor) -> Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])


def test_micro_batches_add_up_to_the_batch(
    tiny_model: Transformer, reference: Transformer, make_pairs: Callable[..., PairRows]
) -> None:
    batch = batch_of(make_pairs(*["both"] * 5))
    for objective in every(frozen_reference(reference)):
        whole, figures = objective.for_batch(tiny_model, batch, 5).loss_sum(tiny_model, batch)
        expected = gradient(tiny_model, whole)
        now = objective.for_batch(tiny_model, batch, 2)
        sums, total = dict.fromkeys(figures, 0.0), torch.tensor(0.0)
        for part in batch.split(2):
            loss, some = now.loss_sum(tiny_model, part)
            total = total + loss
            sums = {name: sums[name] + value for name, value in some.items()}
        assert objective.units(batch) == sum(objective.units(part) for part in batch.split(2)) == 5
        assert total.item() == pytest.approx(whole.item(), rel=1e-6)
        assert sums == pytest.approx(figures, rel=1e-5, abs=1e-6)
        torch.testing.assert_close(gradient(tiny_model, total), expected, rtol=1e-4, atol=1e-6)
        assert not any(one.grad is not None for one in reference.parameters())


def test_dpo_scores_a_model_against_its_reference(
    tiny_model: Transformer, reference: Transformer, make_pairs: Callable[..., PairRows]
) -> None:
    batch = batch_of(make_pairs(*["both"] * 4))
    ours, theirs = sequence_logps(tiny_model, batch).tolist(), sequence_logps(reference, batch).tolist()
    rewards = [
        [0.3 * (one - base) for one, base in zip(*both, strict=True)]
        for both in zip(ours, theirs, strict=True)
    ]
    loss, figures = Dpo(frozen_reference(reference), beta=0.3).loss_sum(tiny_model, batch)
    assert loss.item() == pytest.approx(-sum(math.log(sigmoid(w - l)) for w, l in rewards), abs=1e-5)  # noqa: E741
    expected = {
        "chosen_logp": sum(w for w, _ in ours),
        "rejected_logp": sum(one for _, one in ours),
        "chosen_reward": sum(w for w, _ in rewards),
        "rejected_reward": sum(one for _, one in rewards),
        "reward_margin": sum(w - one for w, one in rewards),
        "reward_accuracy": sum(w > one for w, one in rewards),
    }
    assert figures == pytest.approx(expected, abs=1e-5)


def test_a_model_equal_to_its_reference_loses_log_2_and_is_never_right(
    tiny_model: Transformer, make_pairs: Callable[..., PairRows]
) -> None:
    batch = batch_of(make_pairs("both", "both"))
    twin = Transformer(tiny_model.config)
    twin.load_state_dict(tiny_model.state_dict())
    loss, figures = Dpo(frozen_reference(twin)).loss_sum(tiny_model, batch)
    assert loss.item() == pytest.approx(2 * math.log(2), abs=1e-6)
    assert figures["reward_accuracy"] == figures["reward_margin"] == 0


def test_orpo_and_simpo_go_by_means_over_tokens(
    tiny_model: Transformer, make_pairs: Callable[..., PairRows]
) -> None:
    batch = batch_of(make_pairs(*["both"] * 3))
    means = sequence_logps(tiny_model, batch) / sequence_tokens(batch)
    pairs = Pairs(means[:, 0], means[:, 1])
    loss, figures = Orpo(beta=0.3).loss_sum(tiny_model, batch)
    losses, ratios = orpo_losses(pairs, beta=0.3)
    assert loss.item() == pytest.approx(losses.sum().item(), abs=1e-5)
    assert figures["nll"] == pytest.approx(-pairs.chosen.sum().item(), abs=1e-5)
    assert figures["log_odds_ratio"] == pytest.approx(ratios.sum().item(), abs=1e-5)
    loss, figures = Simpo().loss_sum(tiny_model, batch)
    assert loss.item() == pytest.approx(simpo_losses(pairs, beta=2.0, gamma=1.0).sum().item(), abs=1e-5)
    assert figures["chosen_reward"] == pytest.approx(2 * pairs.chosen.sum().item(), abs=1e-5)


@pytest.mark.parametrize(
    "settings",
    [{"beta": 0.0}, {"label_smoothing": 0.5}, {"form": "ipo", "label_smoothing": 0.1}],
)
def test_settings_without_sense_are_refused(tiny_model: Transformer, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Dpo(frozen_reference(tiny_model), **settings)


def test_learning_widens_the_margin(tiny_model: Transformer, make_pairs: Callable[..., PairRows]) -> None:
    batch = batch_of(make_pairs(*["both"] * 4))
    twin = Transformer(tiny_model.config)
    twin.load_state_dict(tiny_model.state_dict())
    optimizer = torch.optim.AdamW(tiny_model.parameters(), lr=0.01)
    objective = Dpo(frozen_reference(twin))
    for _ in range(10):
        optimizer.zero_grad()
        loss, figures = objective.loss_sum(tiny_model, batch)
        loss.backward()
        optimizer.step()
    assert figures["reward_accuracy"] == 4


def test_dpo_and_its_gradients_are_those_of_transformers_and_the_paper(
    tiny_model: Transformer, reference: Transformer, make_pairs: Callable[..., PairRows]
) -> None:
    pairs = make_pairs(*["both"] * 4)
    rows, batch = pairs.read(np.arange(4)), batch_of(pairs)
    policy, base = as_transformers(copy.deepcopy(tiny_model)), as_transformers(copy.deepcopy(reference))

    def logp(model: Any, row: int, segment: int) -> Tensor:
        place = rows.segments[row] == segment
        ids = torch.from_numpy(rows.tokens[row][place].astype("int64"))
        table = model(ids[None]).logits[0, :-1].log_softmax(-1)
        scores = table.gather(1, ids[1:, None]).squeeze(1)
        return scores[torch.from_numpy(rows.loss[row][place][1:])].sum()

    total = torch.tensor(0.0)
    for row in range(4):
        ratios = [logp(policy, row, segment) - logp(base, row, segment).detach() for segment in (0, 1)]
        total = total - (1 / (1 + (-0.5 * (ratios[0] - ratios[1])).exp())).log() / 4
    total.backward()
    objective = Dpo(frozen_reference(reference), beta=0.5)
    loss, _ = objective.loss_sum(tiny_model, batch)
    (loss / objective.units(batch)).backward()
    assert loss.item() / 4 == pytest.approx(total.item(), abs=1e-5)
    expected = dict(policy.named_parameters())
    for name, one in tiny_model.named_parameters():
        torch.testing.assert_close(one.grad, expected[name].grad, rtol=1e-5, atol=1e-5, msg=name)
