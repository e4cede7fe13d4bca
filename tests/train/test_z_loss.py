"""The z-loss: its gradient beside the formula's, the loss without it, and what it is for."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from llmkit.model.transformer import Transformer
from llmkit.train.evaluate import evaluate
from llmkit.train.loss import Batch, build_batch
from llmkit.train.objective import NextToken
from llmkit.train.order import RowOrder
from llmkit.train.trainer import Trainer
from llmkit.train.z_loss import NextTokenWithZLoss


@pytest.fixture
def batch(make_rows: Callable[..., Any]) -> Batch:
    rows = make_rows(6, documents=2, masked=0.3).read(np.arange(6))
    return build_batch(rows, document_mask=True, device=torch.device("cpu"))


def _gradients(model: Transformer, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def test_gradients_are_those_of_the_formula_target_by_target(tiny_model: Transformer, batch: Batch) -> None:
    loss, told = NextTokenWithZLoss(coefficient=0.5).loss_sum(tiny_model, batch)
    found = _gradients(tiny_model, loss)
    logits = tiny_model(batch.ids, segments=batch.segments).double()
    plain = torch.zeros((), dtype=torch.float64)
    added = torch.zeros((), dtype=torch.float64)
    for row, column in (batch.targets != -100).nonzero().tolist():  # slowly, and by another road
        scores = logits[row, column]
        log_z = scores.exp().sum().log()
        plain = plain - torch.log(scores.exp()[batch.targets[row, column]] / scores.exp().sum())
        added = added + 0.5 * log_z**2
    assert loss.item() == pytest.approx(plain.item(), rel=1e-6)  # what is told is cross-entropy alone
    assert told == {"z_loss": pytest.approx(added.item(), rel=1e-5)}
    expected = _gradients(tiny_model, plain + added)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)


def test_a_coefficient_of_nought_learns_as_cross_entropy_does(tiny_model: Transformer, batch: Batch) -> None:
    found = _gradients(tiny_model, NextTokenWithZLoss(coefficient=0.0).loss_sum(tiny_model, batch)[0])
    expected = _gradients(tiny_model, NextToken(chunked=False).loss_sum(tiny_model, batch)[0])
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_held_out_rows_are_scored_without_it(tiny_model: Transformer, make_rows: Callable[..., Any]) -> None:
    how: Any = {"batch_rows": 4, "document_mask": True, "autocast": nullcontext}
    plain = evaluate(tiny_model, make_rows(8), **how)
    assert evaluate(tiny_model, make_rows(8), objective=NextTokenWithZLoss(coefficient=9.0), **how) == plain


def test_a_run_with_it_is_told_its_part_and_keeps_log_z_small(
    tiny_model: Transformer, make_recipe: Callable[..., Any], make_rows: Callable[..., Any]
) -> None:
    rows = make_rows(20)
    sizes = []
    for z_loss in (None, 1.0):
        recipe = make_recipe(rows=20, lr=0.01, model=tiny_model.config.to_hf(), z_loss=z_loss)
        trainer = Trainer(copy.deepcopy(tiny_model), rows, recipe, micro_batch_rows=2)
        results = [trainer.train_step() for _ in range(20)]
        assert [set(result.stats) for result in results] == [{"z_loss"} if z_loss else set()] * 20
        tokens = torch.from_numpy(rows.rows.tokens.astype(np.int64))
        with torch.no_grad():
            log_z = trainer.model(tokens[:, :-1]).logsumexp(-1)
        if z_loss:  # the first batch of the next epoch, by hand
            taken = tokens[RowOrder(20, seed=0).take(20 * 4, 4)]
            with torch.no_grad():
                logits = trainer.model(taken[:, :-1])
            plain = F.cross_entropy(logits.flatten(0, 1), taken[:, 1:].flatten())
            result = trainer.train_step()
            assert result.loss == pytest.approx(plain.item(), rel=1e-5)
            assert result.stats["z_loss"] == pytest.approx(
                logits.logsumexp(-1).square().mean().item(), rel=1e-5
            )
        sizes.append(log_z.abs().mean().item())
    assert sizes[1] < 0.5 * sizes[0]
