"""KTO against its formula, and its KL against answers swapped by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from llmkit.errors import UsageError
from llmkit.model.transformer import Transformer
from llmkit.train.cross_entropy import IGNORED
from llmkit.train.kto import Kto, kto_losses, mismatched
from llmkit.train.loss import Batch, build_batch
from llmkit.train.objective import frozen_reference
from llmkit.train.pair_rows import PairRows, Tokens
from llmkit.train.sequence_scores import sequence_logps

CPU = torch.device("cpu")


def batch_of(pairs: PairRows) -> Batch:
    return build_batch(pairs.read(np.arange(len(pairs))), document_mask=True, device=CPU)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_losses_are_as_worked_out_by_hand() -> None:
    found = kto_losses(
        torch.tensor([1.0, 1.0, -3.0]), torch.tensor([True, False, False]), 0.5, beta=0.2, weights=(2.0, 0.5)
    )
    # 2 (1 - sigmoid(0.1)), 0.5 (1 - sigmoid(-0.1)), 0.5 (1 - sigmoid(0.7))
    assert found.tolist() == pytest.approx([0.9500416, 0.2624896, 0.1659061], abs=1e-6)


def test_each_prompt_is_given_the_answer_before_it() -> None:
    answers = [
        Tokens([1, 2, 3], [False, True, True]),
        Tokens([4, 5, 6, 7], [False, False, True, True]),
        Tokens([8, 9], [False, True]),
    ]
    pairs = PairRows([(answers[0], answers[1]), (None, answers[2])])
    batch = mismatched(batch_of(pairs))
    texts = [([1, 9], [9]), ([4, 5, 2, 3], [2, 3]), ([8, 6, 7], [6, 7])]
    assert len(batch.ids) == 3
    for row, (text, learnt) in enumerate(texts):
        assert batch.ids[row, : len(text) - 1].tolist() == text[:-1]
        assert [one for one in batch.targets[row].tolist() if one != IGNORED] == learnt
        assert batch.targets[row, len(text) - 2] == text[-1]


def test_a_prompt_and_anothers_answer_may_be_longer_than_the_rows_but_not_than_the_longest_allowed() -> None:
    long_prompt, long_answer = (
        Tokens([1, 2, 3, 4], [*[False] * 3, True]),
        Tokens([5, 6, 7, 8], [False, *[True] * 3]),
    )
    batch = batch_of(PairRows([(long_prompt, None), (long_answer, None)]))
    joined = [[1, 2, 3, 6, 7, 8], [5, 4]]
    for longest, expected in ((None, joined), (5, [joined[0][:5], joined[1]])):
        found = mismatched(batch, longest)
        assert found.ids[0].tolist() == expected[0][:-1] and found.ids[1, 0] == expected[1][0]
        learnt = [[one for one in row if one != IGNORED] for row in found.targets.tolist()]
        assert learnt == [expected[0][3:], expected[1][1:]]


def test_what_is_not_learnt_after_the_last_answer_is_no_answer() -> None:
    pairs = PairRows([(Tokens([1, 2, 3], [False, True, False]), None), (Tokens([4, 5], [False, True]), None)])
    batch = mismatched(batch_of(pairs))
    assert batch.count == 2


def test_the_loss_is_the_formula_on_the_scores_of_two_models(
    tiny_model: Transformer, reference: Transformer, make_pairs: Callable[..., PairRows]
) -> None:
    batch = batch_of(make_pairs("chosen", "rejected", "both", "chosen"))
    kto = Kto(frozen_reference(reference), beta=0.3, desirable_weight=1.5).for_batch(tiny_model, batch, 4)
    swapped = mismatched(batch)
    moved = sequence_logps(tiny_model, swapped).sum() - sequence_logps(reference, swapped).sum()
    assert kto.kl == pytest.approx(max(0.0, moved.item() / 5), abs=1e-5)
    kl = kto.kl
    assert kl is not None
    ratios = (sequence_logps(tiny_model, batch) - sequence_logps(reference, batch)).tolist()
    good = [ratios[0][0], ratios[2][0], ratios[3][0]]
    bad = [ratios[1][1], ratios[2][1]]
    expected = sum(1.5 * (1 - sigmoid(0.3 * (r - kl))) for r in good)
    expected += sum(1 - sigmoid(0.3 * (kl - r)) for r in bad)
    loss, figures = kto.loss_sum(tiny_model, batch)
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    assert kto.units(batch) == 5
    report = kto.report(figures, 5)
    assert report["kl"] == pytest.approx(kl)
    assert report["desirable"] == pytest.approx(3 / 5)
    assert report["desirable_reward"] == pytest.approx(0.3 * sum(good) / 3, abs=1e-5)
    assert report["undesirable_reward"] == pytest.approx(0.3 * sum(bad) / 2, abs=1e-5)
    margin = report["desirable_reward"] - report["undesirable_reward"]
    assert report["reward_margin"] == pytest.approx(margin)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_micro_batches_add_up_to_the_batch(
    tiny_model: Transformer, reference: Transformer, make_pairs: Callable[..., PairRows], rows: int
) -> None:
    batch = batch_of(make_pairs("chosen", "rejected", "both", "chosen", "rejected"))
    kto = Kto(frozen_reference(reference))
    whole = kto.for_batch(tiny_model, batch, 5)
    loss, figures = whole.loss_sum(tiny_model, batch)
    loss.backward()
    expected = [one.grad.clone() for one in tiny_model.parameters() if one.grad is not None]
    tiny_model.zero_grad()
    now = kto.for_batch(tiny_model, batch, rows)
    assert now.kl == pytest.approx(whole.kl, abs=1e-6)
    total, sums = 0.0, dict.fromkeys(figures, 0.0)
    for part in batch.split(rows):
        part_loss, some = now.loss_sum(tiny_model, part)
        part_loss.backward()
        total += part_loss.item()
        sums = {name: sums[name] + value for name, value in some.items()}
    assert total == pytest.approx(loss.item(), rel=1e-6)
    assert sums == pytest.approx(figures, abs=1e-5)
    assert sum(kto.units(part) for part in batch.split(rows)) == kto.units(batch)
    for one, gradient in zip(tiny_model.parameters(), expected, strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad, gradient, rtol=1e-4, atol=1e-6)


def test_the_kl_is_never_below_0(
    tiny_model: Transformer, reference: Transformer, make_pairs: Callable[..., PairRows]
) -> None:
    batch = batch_of(make_pairs("both", "both"))
    forward = Kto(frozen_reference(reference)).for_batch(tiny_model, batch, 2).kl
    tiny_model.requires_grad_(True)
    backward = Kto(frozen_reference(tiny_model)).for_batch(reference, batch, 2).kl
    assert sorted([forward, backward])[0] == 0.0  # one is the other's negative
    assert sorted([forward, backward])[1] > 0.0


def test_a_kind_that_is_absent_is_not_reported(
    tiny_model: Transformer, reference: Transformer, make_pairs: Callable[..., PairRows]
) -> None:
    batch = batch_of(make_pairs("rejected", "rejected"))
    kto = Kto(frozen_reference(reference)).for_batch(tiny_model, batch, 2)
    report = kto.report(kto.loss_sum(tiny_model, batch)[1], 2)
    assert set(report) == {"kl", "desirable", "undesirable_logp", "undesirable_reward"}


def test_one_answer_has_no_other_to_be_swapped_with(
    tiny_model: Transformer, make_pairs: Callable[..., PairRows]
) -> None:
    with pytest.raises(UsageError, match="one answer"):
        mismatched(batch_of(make_pairs("chosen")))
    with pytest.raises(UsageError, match="beta"):
        Kto(frozen_reference(tiny_model), beta=0)
    with pytest.raises(UsageError, match="weight"):
        Kto(frozen_reference(tiny_model), desirable_weight=-1)
    with pytest.raises(ValueError, match="for_batch"):
        Kto(frozen_reference(tiny_model)).loss_sum(tiny_model, batch_of(make_pairs("both")))
