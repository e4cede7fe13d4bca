"""Sums over answers against answers scored one by one."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from llmkit.errors import DataError
from llmkit.formats.shards import Rows
from llmkit.model.transformer import Transformer
from llmkit.train.loss import build_batch
from llmkit.train.pair_rows import PairRows, Tokens, build_rows
from llmkit.train.sequence_scores import (
    as_pairs,
    num_pairs,
    num_sequences,
    sequence_logps,
    sequence_tokens,
)

CPU = torch.device("cpu")


def alone(model: Transformer, tokens: list[int], learnt: list[bool]) -> float:
    """log p of an answer's learnt tokens, in a pass of its own."""
    table = model(torch.tensor([tokens]))[0].double().log_softmax(-1)
    return sum(table[place - 1, tokens[place]].item() for place in range(1, len(tokens)) if learnt[place])


def segments_of(rows: Rows, row: int) -> dict[int, tuple[list[int], list[bool]]]:
    found = {}
    for segment in sorted(set(rows.segments[row].tolist()) - {-1}):
        place = rows.segments[row] == segment
        found[segment] = (rows.tokens[row][place].tolist(), rows.loss[row][place].tolist())
    return found


def test_answers_of_a_row_score_as_each_alone(
    tiny_model: Transformer, make_pairs: Callable[..., PairRows]
) -> None:
    pairs = make_pairs("both", "rejected", "both", "chosen")
    rows = pairs.read(np.array([2, 0, 1, 3]))
    batch = build_batch(rows, document_mask=True, device=CPU)
    logps, tokens = sequence_logps(tiny_model, batch), sequence_tokens(batch)
    assert logps.shape == tokens.shape == (4, 2)
    for row in range(4):
        answers = segments_of(rows, row)
        for segment in (0, 1):
            ids, learnt = answers.get(segment, ([0], [False]))
            assert logps[row, segment].item() == pytest.approx(alone(tiny_model, ids, learnt), abs=1e-5)
            assert tokens[row, segment] == sum(learnt)
    assert num_sequences(batch) == 6


def test_two_pairs_in_a_row_score_as_each_pair_alone(
    tiny_model: Transformer, make_pairs: Callable[..., PairRows]
) -> None:
    rows = make_pairs("both", "both").read(np.arange(2))
    apart = build_batch(rows, document_mask=True, device=CPU)
    answers = [segments_of(rows, row)[segment] for row in range(2) for segment in range(2)]
    packed = build_rows([[(number, Tokens(*answer)) for number, answer in enumerate(answers)]])
    together = build_batch(packed, document_mask=True, device=CPU)
    found = sequence_logps(tiny_model, together)
    assert found.shape == (1, 4)
    torch.testing.assert_close(found.flatten(), sequence_logps(tiny_model, apart).flatten())
    assert num_pairs(together) == num_pairs(apart) == 2
    pairs = as_pairs(found, sequence_tokens(together))
    torch.testing.assert_close(pairs.chosen, found[0, 0::2])
    torch.testing.assert_close(pairs.rejected, found[0, 1::2])


def test_half_a_pair_is_refused(make_pairs: Callable[..., PairRows]) -> None:
    for kind, missing in (("rejected", "chosen"), ("chosen", "rejected")):
        batch = build_batch(make_pairs("both", kind).read(np.arange(2)), document_mask=True, device=CPU)
        with pytest.raises(DataError, match=f"row 1 .*{missing} answer"):
            num_pairs(batch)
