"""Joined sources and batches read ahead."""

from collections.abc import Callable
from typing import Any

import numpy as np

from llmkit.train.data import BatchReader, JoinedRows
from llmkit.train.order import RowOrder


def test_joined_sources_read_as_one(make_rows: Callable[..., Any]) -> None:
    parts = [make_rows(5), make_rows(1), make_rows(7)]
    joined = JoinedRows(parts)
    tokens = np.concatenate([part.rows.tokens for part in parts])
    wanted = np.array([12, 0, 5, 4, 6, 0])
    assert len(joined) == 13
    assert np.array_equal(joined.read(wanted).tokens, tokens[wanted])


def test_batches_read_ahead_are_those_of_their_step(make_rows: Callable[..., Any]) -> None:
    rows, order = make_rows(10), RowOrder(10, seed=2)
    reader = BatchReader(rows, order, lambda step: (step * 3, 3), lambda rows: rows.tokens)
    for step in (0, 1, 2, 7, 8, 3):
        expected = rows.rows.tokens[RowOrder(10, seed=2).take(step * 3, 3)]
        assert np.array_equal(reader.read(step), expected)
    reader.close()


def test_a_reader_follows_batches_that_grow_and_move_on(make_rows: Callable[..., Any]) -> None:
    rows, passed = make_rows(10), [0]
    reader = BatchReader(
        rows,
        RowOrder(10, seed=2),
        lambda step: (step * (step + 1) // 2 + passed[0], step + 1),
        lambda rows: rows.tokens,
    )
    for step, later in ((0, 0), (1, 0), (2, 0), (1, 5), (2, 5)):  # back from 3, and past some rows
        passed[0] = later
        expected = rows.rows.tokens[RowOrder(10, seed=2).take(step * (step + 1) // 2 + later, step + 1)]
        assert np.array_equal(reader.read(step), expected)
    reader.close()
