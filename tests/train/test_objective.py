"""What all objectives share: sums over units that add up, and references."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from llmkit.model.adapters.add_lora import add_lora
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.transformer import Transformer
from llmkit.train.loss import build_batch, loss_sum
from llmkit.train.objective import NextToken, Objective, adapter_reference, frozen_reference
from llmkit.workflows.bench.peer import as_transformers

CPU = torch.device("cpu")


@pytest.mark.parametrize("chunked", [True, False])
def test_the_next_token_is_the_plain_loss(
    tiny_model: Transformer, make_rows: Callable[..., Any], chunked: bool
) -> None:
    batch = build_batch(make_rows(4, documents=2, masked=0.3).rows, document_mask=True, device=CPU)
    objective = NextToken(chunked)
    expected = loss_sum(tiny_model, batch).item()
    loss, figures = objective.loss_sum(tiny_model, batch)
    assert (loss.item(), figures) == (pytest.approx(expected, rel=1e-6), {})
    assert objective.units(batch) == batch.count
    assert objective.for_batch(tiny_model, batch, 2) is objective
    parts = [objective.loss_sum(tiny_model, part)[0].item() for part in batch.split(1)]
    assert sum(parts) == pytest.approx(expected, rel=1e-6)


def test_a_report_is_the_mean_over_units() -> None:
    assert Objective().report({"margin": 6.0}, 4) == {"margin": 1.5}
    assert Objective().report({"margin": 0.0}, 0) == {"margin": 0.0}


def test_a_frozen_reference_wants_no_gradient_and_drops_nothing_out(tiny_model: Transformer) -> None:
    reference = Transformer(tiny_model.config).train()
    with frozen_reference(reference)(tiny_model) as scorer:
        assert scorer is reference
        assert not scorer.training
        assert not torch.is_grad_enabled()
    assert not any(one.requires_grad for one in reference.parameters())
    assert all(one.requires_grad for one in tiny_model.parameters())


def test_the_reference_of_adapters_is_the_model_without_them(tiny_model: Transformer) -> None:
    ids = torch.arange(8)[None]
    before = tiny_model(ids)
    add_lora(tiny_model, LoraConfig(r=2, dropout=0.5), 0)
    with torch.no_grad():
        for one in tiny_model.parameters():
            if one.requires_grad:
                one.add_(0.1)
    tiny_model.train()
    with adapter_reference()(tiny_model) as scorer:
        torch.testing.assert_close(scorer(ids), before.detach(), rtol=0, atol=0)
    assert tiny_model.training
    assert not torch.allclose(tiny_model(ids), before)


def test_loss_and_gradients_are_those_of_transformers_on_padded_and_packed_rows(
    tiny_model: Transformer, make_rows: Callable[..., Any]
) -> None:
    theirs = as_transformers(copy.deepcopy(tiny_model))
    rows = make_rows(4, documents=2, padding=2, masked=0.4).rows
    batch = build_batch(rows, document_mask=True, device=CPU)
    loss, _ = NextToken().loss_sum(tiny_model, batch)
    (loss / batch.count).backward()
    total = torch.tensor(0.0)
    for row in range(4):  # transformers reads each document in a pass of its own
        for segment in set(rows.segments[row].tolist()) - {-1}:
            place = rows.segments[row] == segment
            ids = torch.from_numpy(rows.tokens[row][place].astype("int64"))[None]
            labels = ids.where(torch.from_numpy(rows.loss[row][place]), -100)
            if (labels[:, 1:] != -100).any():
                total = total + theirs(ids, labels=labels, num_items_in_batch=batch.count).loss
    total.backward()
    assert loss.item() / batch.count == pytest.approx(total.item(), abs=1e-5)
    expected = dict(theirs.named_parameters())
    for name, one in tiny_model.named_parameters():
        torch.testing.assert_close(one.grad, expected[name].grad, rtol=1e-5, atol=1e-5, msg=name)
