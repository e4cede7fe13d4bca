"""The loss against its definition, target by target."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from llmkit.model.transformer import Transformer
from llmkit.train.cross_entropy import IGNORED
from llmkit.train.loss import build_batch, loss_sum

CPU = torch.device("cpu")


def slow_loss(model: Transformer, tokens: list[int], learnt: list[bool]) -> float:
    """Each target's -log p, from the ids before it alone."""
    total = 0.0
    for place in range(1, len(tokens)):
        if learnt[place]:
            logits = model(torch.tensor([tokens[:place]]))[0, -1]
            total -= torch.log_softmax(logits.double(), -1)[tokens[place]].item()
    return total


def test_the_sum_is_over_the_targets_that_carry_loss(
    make_rows: Callable[..., Any], tiny_model: Transformer
) -> None:
    rows = make_rows(3, masked=0.4).rows
    batch = build_batch(rows, document_mask=True, device=CPU)
    expected = sum(
        slow_loss(tiny_model, rows.tokens[row].tolist(), rows.loss[row].tolist()) for row in range(3)
    )
    assert batch.count == rows.loss[:, 1:].sum()
    assert loss_sum(tiny_model, batch).item() == pytest.approx(expected, rel=1e-5)


def test_with_the_mask_each_document_is_learnt_as_if_it_stood_alone(
    make_rows: Callable[..., Any], tiny_model: Transformer
) -> None:
    rows = make_rows(4, seq_len=12, documents=3, padding=2).rows
    batch = build_batch(rows, document_mask=True, device=CPU)
    expected, count = 0.0, 0
    for tokens, segments in zip(rows.tokens.tolist(), rows.segments.tolist(), strict=True):
        for document in {number for number in segments if number >= 0}:
            ids = [token for token, number in zip(tokens, segments, strict=True) if number == document]
            expected += slow_loss(tiny_model, ids, [True] * len(ids))
            count += len(ids) - 1
    assert batch.count == count
    assert loss_sum(tiny_model, batch).item() == pytest.approx(expected, rel=1e-5)


def test_without_the_mask_a_row_is_one_text(make_rows: Callable[..., Any], tiny_model: Transformer) -> None:
    rows = make_rows(2, documents=3).rows
    batch = build_batch(rows, document_mask=False, device=CPU)
    expected = sum(slow_loss(tiny_model, rows.tokens[row].tolist(), [True] * 9) for row in range(2))
    assert batch.segments is None
    assert loss_sum(tiny_model, batch).item() == pytest.approx(expected, rel=1e-5)


def test_rows_of_one_document_and_padding_need_no_segments(make_rows: Callable[..., Any]) -> None:
    batch = build_batch(make_rows(2, padding=3).rows, document_mask=True, device=CPU)
    assert batch.segments is None
    assert (batch.targets[:, -3:] == IGNORED).all()
    assert (batch.targets[:, :-3] != IGNORED).all()


def test_the_parts_of_a_batch_add_up_to_it(make_rows: Callable[..., Any], tiny_model: Transformer) -> None:
    batch = build_batch(make_rows(7, documents=2, masked=0.3).rows, document_mask=True, device=CPU)
    parts = batch.split(3)
    assert [len(part.ids) for part in parts] == [3, 3, 1]
    assert sum(part.count for part in parts) == batch.count
    total = sum(loss_sum(tiny_model, part).item() for part in parts)
    assert total == pytest.approx(loss_sum(tiny_model, batch).item(), rel=1e-5)


def test_padding_is_no_real_id_and_parts_keep_count(make_rows: Callable[..., Any]) -> None:
    assert build_batch(make_rows(3).rows, document_mask=True, device=CPU).real is None
    assert build_batch(make_rows(3).rows, document_mask=True, device=CPU).num_real == 3 * 8
    for masked in (True, False):
        batch = build_batch(make_rows(5, padding=3).rows, document_mask=masked, device=CPU)
        assert batch.num_real == 5 * 6  # of 8 inputs; the third padding id is a target only
        assert [part.num_real for part in batch.split(2)] == [12, 12, 6]
