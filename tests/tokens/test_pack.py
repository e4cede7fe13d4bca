"""Plans of rows, against a slow twin that lays out every token by itself."""

from dataclasses import replace

import numpy as np
import pytest

from llmkit.tokens.config import PackConfig, Strategy
from llmkit.tokens.pack import RowPlan, copy_rows, next_fit, notes_of, plan_rows

L = 10
CONFIG = PackConfig(seq_len=L - 1, shuffle=False)
STRATEGIES = ("best-fit", "greedy", "concat")


def corpus(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lengths, all ids end to end, where documents begin. Every id is there once."""
    lengths = np.random.default_rng(seed).integers(0, 25, count)
    return lengths, np.arange(100, 100 + lengths.sum(), dtype=np.uint32), np.cumsum(lengths) - lengths


def drawn(plan: RowPlan) -> list[list[tuple[int, int]]]:
    """Each row as (document, which of its tokens), token by token."""
    rows = []
    for row in range(plan.rows):
        pieces = range(plan.bounds[row], plan.bounds[row + 1])
        rows.append(
            [(int(plan.document[p]), int(plan.offset[p]) + i) for p in pieces for i in range(plan.length[p])]
        )
    return rows


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(5))
def test_every_token_stands_in_one_row_and_no_row_is_too_long(strategy: Strategy, seed: int) -> None:
    lengths, _, _ = corpus(seed)
    rows = drawn(plan_rows(lengths, replace(CONFIG, strategy=strategy)))
    assert sorted(token for row in rows for token in row) == [
        (document, token) for document, length in enumerate(lengths) for token in range(length)
    ]
    assert all(0 < len(row) <= L for row in rows)


@pytest.mark.parametrize("strategy", ["best-fit", "greedy"])
def test_a_document_that_fits_a_row_is_never_cut(strategy: Strategy) -> None:
    lengths, _, _ = corpus(1)
    plan = plan_rows(lengths, replace(CONFIG, strategy=strategy))
    assert plan.cut_documents == (lengths > L).sum()
    owners: dict[int, set[int]] = {}
    for number, row in enumerate(drawn(plan)):
        for document, _ in row:
            owners.setdefault(document, set()).add(number)
    for document, rows in owners.items():
        assert len(rows) == -(-lengths[document] // L)


def test_greedy_keeps_the_order_of_documents() -> None:
    rows = drawn(plan_rows(np.array([4, 4, 4, 11, 1, 8, 2]), replace(CONFIG, strategy="greedy")))
    assert [sorted({document for document, _ in row}) for row in rows] == [[0, 1], [2], [3], [3, 4, 5], [6]]


def test_concat_fills_every_row_but_the_last_in_order() -> None:
    lengths, _, _ = corpus(2)
    rows = drawn(plan_rows(lengths, replace(CONFIG, strategy="concat")))
    flat = [(document, token) for document, length in enumerate(lengths) for token in range(length)]
    assert rows == [flat[start : start + L] for start in range(0, len(flat), L)]


def test_best_fit_by_hand() -> None:
    # 9 takes row 0, 6 row 1, 5 row 2, 4 goes with 6, 3 with 5, 1 into the fullest with room: 9
    plan = plan_rows(np.array([3, 9, 1, 6, 5, 4]), CONFIG)
    assert [sorted({document for document, _ in row}) for row in drawn(plan)] == [[0, 4], [1, 2], [3, 5]]


def test_rows_stand_in_the_order_of_their_first_documents_or_shuffled_by_the_seed() -> None:
    lengths = np.full(500, L)
    plain = plan_rows(lengths, CONFIG).document.tolist()
    one, same, two = (
        plan_rows(lengths, replace(CONFIG, shuffle=True, seed=seed)).document.tolist() for seed in (1, 1, 2)
    )
    assert plain == list(range(500))
    assert one == same and sorted(one) == sorted(two) == plain
    assert len({tuple(plain), tuple(one), tuple(two)}) == 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_copied_rows_hold_the_ids_that_the_plan_says(strategy: Strategy) -> None:
    lengths, tokens, starts = corpus(3)
    plan = plan_rows(lengths, replace(CONFIG, strategy=strategy, shuffle=True))
    rows = copy_rows(plan, tokens, starts, L, pad=7)
    for row, places in zip(rows.tolist(), drawn(plan), strict=True):
        expected = [int(tokens[starts[document] + token]) for document, token in places]
        assert row == expected + [7] * (L - len(expected))


def test_part_of_a_plan_is_copied_as_part_of_the_rows() -> None:
    lengths, tokens, starts = corpus(4)
    plan = plan_rows(lengths, CONFIG)
    whole = copy_rows(plan, tokens, starts, L, pad=0)
    assert np.array_equal(copy_rows(plan.take(5, 9), tokens, starts, L, pad=0), whole[5:9])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_notes_mark_documents_and_loss_token_by_token(strategy: Strategy) -> None:
    lengths, _, _ = corpus(5)
    random = np.random.default_rng(0)
    silent = {(d, t) for d, length in enumerate(lengths) for t in range(length) if random.random() < 0.4}
    runs, counts = [], []
    for document, length in enumerate(lengths):
        own = [(t, 1) for t in range(length) if (document, t) in silent]
        runs += own
        counts.append(len(own))
    plan = plan_rows(lengths, replace(CONFIG, strategy=strategy))
    bounds = np.concatenate([[0], np.cumsum(counts)])
    notes = notes_of(plan, np.array(runs).reshape(-1, 2), bounds)
    segments, loss = notes.expand(np.arange(plan.rows), L)
    for row, places in enumerate(drawn(plan)):
        assert loss[row].tolist() == [p not in silent for p in places] + [False] * (L - len(places))
        numbers = {document: number for number, document in enumerate(dict.fromkeys(d for d, _ in places))}
        assert segments[row].tolist() == [numbers[d] for d, _ in places] + [-1] * (L - len(places))
        assert notes.used[row] == len(places)


def test_a_run_across_a_cut_is_silent_in_both_rows() -> None:
    plan = plan_rows(np.array([14]), CONFIG)
    notes = notes_of(plan, np.array([[8, 4]]), np.array([0, 1]))
    assert (notes.run_starts.tolist(), notes.run_lengths.tolist(), notes.run_rows.tolist()) == (
        [8, 0],
        [2, 2],
        [0, 1, 2],
    )


def test_no_documents_are_no_rows() -> None:
    for strategy in STRATEGIES:
        plan = plan_rows(np.zeros(3, np.int64), replace(CONFIG, strategy=strategy))
        assert plan.rows == 0 and copy_rows(plan, np.zeros(0, np.uint32), np.zeros(3, int), L, 0).shape == (
            0,
            L,
        )


def test_next_fit_by_hand() -> None:
    assert next_fit(np.array([4, 6, 1, 9, 10]), 10)[0].tolist() == [0, 0, 1, 1, 2]
