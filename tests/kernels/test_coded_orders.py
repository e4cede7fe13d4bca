"""Matrices of codes whose columns stand elsewhere, or whose rows are of several."""

import numpy as np
import pytest

from llmkit.formats.gguf.blocks import stored_nbytes
from llmkit.kernels.coded import CodedMatrix
from llmkit.kernels.coded_gguf import GROUPINGS, gguf_matrix
from llmkit.kernels.coded_orders import grouping_of_runs, mixed, with_runs
from llmkit.kernels.grouped import pack_coded
from tests.kernels.native.calls import coded_row

ROWS, COLUMNS = 5, 768
RUNS = np.array([4, 0, 3, 5, 1, 2])


def matrix(kind: str, random: np.random.Generator) -> CodedMatrix:
    """Of random blocks."""
    nbytes = stored_nbytes(kind, (ROWS, COLUMNS))
    return gguf_matrix(random.integers(0, 60, nbytes).astype(np.uint8), kind, ROWS, COLUMNS)


def values(of: CodedMatrix) -> np.ndarray:
    found = of.read(np.arange(of.num_rows))
    assert found.grouping == of.grouping
    return found.values()


@pytest.mark.parametrize("kind", GROUPINGS)
def test_columns_in_another_order_of_runs_are_the_same_codes(kind: str, random: np.random.Generator) -> None:
    one = matrix(kind, random)
    moved = with_runs(one, RUNS, 128)
    expected = values(one).reshape(ROWS, 6, 128)[:, RUNS].reshape(ROWS, COLUMNS)
    assert np.array_equal(values(moved), expected)
    before, after = one.grouping, moved.grouping
    assert (after.codes, after.group, after.based) == (before.codes, before.group, before.based)
    assert after.span == (128 if before.span else 0)


@pytest.mark.parametrize("kind", ["Q4_K", "Q6_K", "IQ4_XS"])
def test_the_kernels_read_spans_that_were_torn(kind: str, random: np.random.Generator, native: None) -> None:
    moved = with_runs(matrix(kind, random), RUNS, 128)
    packed = pack_coded(moved)
    assert np.array_equal(np.stack([coded_row(packed, row) for row in range(ROWS)]), values(moved))


def test_runs_that_tear_groups_have_no_codes() -> None:
    assert grouping_of_runs(GROUPINGS["Q4_0"], 80) is None  # groups of 32
    assert grouping_of_runs(GROUPINGS["Q6_K"], 80) is None  # of 16, but no factor is of 16 columns
    assert grouping_of_runs(GROUPINGS["NVFP4"], 80) == GROUPINGS["NVFP4"]  # of 16, without spans
    assert grouping_of_runs(GROUPINGS["Q4_K"], 512) == GROUPINGS["Q4_K"]


def test_rows_of_one_matrix_among_those_of_others_are_kept_as_it_keeps_them(
    random: np.random.Generator,
) -> None:
    parts = [matrix("Q5_K", random), matrix("Q4_0", random)]
    order = np.array([7, 0, 9, 4, 2, 8])
    whole = mixed(parts, order)
    below = np.concatenate([values(one) for one in parts])
    assert np.array_equal(values(whole), below[order])
    for chosen, part in (([1, 4, 3], parts[0]), ([2, 0], parts[1])):
        found = whole.ordered(np.array(chosen))
        assert found.grouping == part.grouping
        assert np.array_equal(values(found), below[order[chosen]])
    turned = whole.ordered(np.array([5, 1]))
    assert turned.grouping == whole.grouping and np.array_equal(values(turned), below[order[[5, 1]]])
