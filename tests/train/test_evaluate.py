"""Validation loss and bits per byte."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from llmkit.model.transformer import Transformer
from llmkit.tokens.text_sizes import TextSizes
from llmkit.train.evaluate import Evaluation, evaluate


def score(model: Transformer, rows: Any, **settings: Any) -> Evaluation:
    return evaluate(
        model, rows, **{"batch_rows": 3, "document_mask": True, "autocast": nullcontext, **settings}
    )


def test_the_loss_is_the_mean_over_all_targets_whatever_the_batch(
    make_rows: Callable[..., Any], tiny_model: Transformer
) -> None:
    rows = make_rows(7)
    tokens = torch.from_numpy(rows.rows.tokens.astype(np.int64))
    expected = F.cross_entropy(tiny_model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).item()
    for batch_rows in (1, 3, 100):
        result = score(tiny_model, rows, batch_rows=batch_rows)
        assert result.loss == pytest.approx(expected, rel=1e-5)
        assert result.tokens == 7 * 8


def test_bits_per_byte_counts_the_bytes_of_the_targets(
    make_rows: Callable[..., Any], tiny_model: Transformer
) -> None:
    rows = make_rows(4, masked=0.3)
    sizes = np.arange(32) % 5
    targets = rows.rows.tokens[:, 1:][rows.rows.loss[:, 1:]]
    result = score(tiny_model, rows, sizes=TextSizes(sizes))
    expected = result.loss * len(targets) / math.log(2) / sizes[targets].sum()
    assert result.bits_per_byte == pytest.approx(expected)
    assert score(tiny_model, rows).bits_per_byte is None


def test_bits_per_byte_leave_out_the_space_that_the_tokenizer_puts_before_a_text(
    make_rows: Callable[..., Any], tiny_model: Transformer
) -> None:
    rows = make_rows(4)
    behind, spaced = np.arange(32) % 4, np.arange(32) % 3 == 1  # every fourth id is special
    before, targets = rows.rows.tokens[:, :-1], rows.rows.tokens[:, 1:]
    own = [spaced[now] for was, now in zip(before.flat, targets.flat, strict=True) if was % 4 == 0]
    assert any(own) and not all(own)
    result = score(tiny_model, rows, sizes=TextSizes(behind, spaced))
    expected = result.loss * result.tokens / math.log(2) / (behind[targets].sum() - sum(own))
    assert result.bits_per_byte == pytest.approx(expected)


def test_a_limit_scores_the_first_rows(make_rows: Callable[..., Any], tiny_model: Transformer) -> None:
    rows = make_rows(7)
    first = make_rows(7)
    first.rows = type(first.rows)(first.rows.tokens[:2], first.rows.segments[:2], first.rows.loss[:2])
    assert score(tiny_model, rows, limit=2) == score(tiny_model, first)


def test_the_model_goes_back_to_training(make_rows: Callable[..., Any], tiny_model: Transformer) -> None:
    score(tiny_model.train(), make_rows(2))
    assert tiny_model.training


def test_it_can_be_left_between_batches(make_rows: Callable[..., Any], tiny_model: Transformer) -> None:
    def leave() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        score(tiny_model, make_rows(4), between=leave)
