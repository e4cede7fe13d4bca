"""Rows of attention against attention pair by pair."""

from typing import Any

import pytest
import torch
from attention_by_hand import FORMS, dense, random_layer

from llmkit.errors import UsageError
from llmkit.probe.attention.rows import (
    attention_rows,
    blocks,
    frame_of,
    head_of,
    head_output,
    positions_of,
    rows_of,
    value_norms,
)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_rows_are_the_pairs(form: dict[str, Any]) -> None:
    layer = random_layer(**form)
    for head in range(4):
        scores, weights, null = dense(layer, head)
        exact = torch.float64
        torch.testing.assert_close(
            attention_rows(layer, head, before=True, dtype=exact), scores, rtol=0, atol=1e-13
        )
        torch.testing.assert_close(attention_rows(layer, head, dtype=exact), weights, rtol=0, atol=1e-14)
        found = rows_of(layer, head, torch.arange(5, 19), dtype=exact)
        torch.testing.assert_close(found.null, null[5:19], rtol=0, atol=1e-14)
        torch.testing.assert_close(found.weights.sum(-1) + found.null, torch.ones(14, dtype=exact))
        single = attention_rows(layer, head)
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), weights, rtol=0, atol=1e-6)


def test_queries_come_in_any_order_and_count_from_the_end_too() -> None:
    layer = random_layer(window=7)
    every = attention_rows(layer, 1)
    chosen = [9, 0, -1, 9]
    torch.testing.assert_close(attention_rows(layer, 1, chosen), every[chosen])
    torch.testing.assert_close(attention_rows(layer, 1, torch.tensor(chosen)), every[chosen])
    torch.testing.assert_close(attention_rows(layer, -3, slice(4, 20, 3)), every[4:20:3])
    assert attention_rows(layer, 1, slice(5, 5)).shape == (0, 23)


def test_blocks_cover_every_query_once_within_their_numbers() -> None:
    for form in FORMS:
        layer = random_layer(**form)
        for numbers in (1, 60, 200, 10_000):
            parts = list(blocks(layer, numbers=numbers))
            assert torch.cat(parts).tolist() == list(range(23))
            for part in parts:
                assert len(part) == 1 or frame_of(layer, part).hidden.numel() <= numbers
    assert len(list(blocks(random_layer(), numbers=600))) == 1
    assert len(list(blocks(random_layer(), numbers=600, most_queries=10))) == 3


def test_the_outputs_of_heads_add_up_to_the_layers() -> None:
    layer = random_layer(groups=2)
    mixed = [dense(layer, head)[1] @ layer.v[layer.group(head)] for head in range(4)]
    parts = [head_output(layer, head, one) for head, one in enumerate(mixed)]
    with torch.no_grad():
        whole = layer.o_proj(torch.cat(mixed, dim=1))
    torch.testing.assert_close(sum(parts) + layer.o_proj.bias.detach(), whole)


def test_values_are_as_long_as_what_they_add() -> None:
    layer = random_layer(groups=2)
    matrix = layer.o_proj.weight.detach()  # (D, H X)
    for head in range(4):
        expected = [
            (matrix[:, 5 * head : 5 * head + 5] @ v).square().sum().sqrt() for v in layer.v[head // 2]
        ]
        found = value_norms(layer, head, dtype=torch.float64)
        torch.testing.assert_close(found, torch.stack(expected))


def test_what_is_not_there_is_named() -> None:
    layer = random_layer()
    with pytest.raises(UsageError, match="no head 4 in layer 3"):
        head_of(layer, 4)
    with pytest.raises(UsageError, match="no token 23 in a text of 23"):
        positions_of(layer, [0, 23])
