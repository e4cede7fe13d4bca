"""Batches of a run: the rows that the order has, at the step, after what was passed over."""

from collections.abc import Callable
from typing import Any

import torch

from llmkit.train.order import RowOrder
from llmkit.train.parallel.ranks import Share
from llmkit.train.row_batches import RowBatches

CPU = torch.device("cpu")


def test_a_batch_has_the_rows_of_its_step_after_those_passed_over(
    make_rows: Callable[..., Any], make_recipe: Callable[..., Any]
) -> None:
    rows = make_rows(20)
    batches = RowBatches(rows, make_recipe(rows=20, seed=3, batch_ramp="1:6"), CPU, Share())
    order = RowOrder(20, 3)
    for step, passed, begin, count in (
        (0, 0, 0, 1),
        (3, 0, 4, 2),
        (3, 7, 11, 2),
        (4, 7, 13, 3),
        (9, 7, 31, 4),
    ):
        batches.passed_rows = passed
        expected = rows.rows.tokens[order.take(begin, count)][:, :-1]
        assert batches.batch(step).ids.tolist() == expected.tolist()
    batches.close()


def test_processes_that_share_a_batch_have_all_of_it_between_them(
    make_rows: Callable[..., Any], make_recipe: Callable[..., Any]
) -> None:
    rows, recipe = make_rows(20), make_recipe(rows=20, batch_ramp="2:6")
    whole, *parts = (RowBatches(rows, recipe, CPU, share) for share in (Share(), Share(0, 2), Share(1, 2)))
    for step in (0, 5):
        halves = [part.batch(step).ids for part in parts]
        assert torch.equal(torch.cat(halves), whole.batch(step).ids)
    for one in (whole, *parts):
        one.close()


def test_a_row_that_is_cut_comes_in_its_pieces(
    make_rows: Callable[..., Any], make_recipe: Callable[..., Any]
) -> None:
    rows, recipe = make_rows(20), make_recipe(rows=20)
    whole = RowBatches(rows, recipe, CPU, Share())
    length = whole.batch(0).ids.shape[1]
    pieces = [
        RowBatches(rows, recipe, CPU, Share(), Share(index, length // 2)) for index in range(length // 2)
    ]
    places = [place for index in range(length // 2) for place in (index, length - 1 - index)]
    found = torch.cat([piece.batch(0).ids for piece in pieces], dim=1)
    assert torch.equal(found, whole.batch(0).ids[:, places])
    for one in (whole, *pieces):
        one.close()
