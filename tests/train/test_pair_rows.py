"""Rows of pairs, id by id."""

import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.train.pair_rows import PairRows, Tokens

FIRST = Tokens([1, 2, 3], [False, False, True])
SECOND = Tokens([4, 5], [False, True])
LONG = Tokens([6, 7, 8, 9], [False, True, True, True])


def test_a_pair_is_a_row_of_two_segments() -> None:
    rows = PairRows([(FIRST, SECOND), (None, LONG), (SECOND, None)]).read(np.array([1, 0, 2]))
    assert rows.tokens.tolist() == [[6, 7, 8, 9, 0], [1, 2, 3, 4, 5], [4, 5, 0, 0, 0]]
    assert rows.segments.tolist() == [[1, 1, 1, 1, -1], [0, 0, 0, 1, 1], [0, 0, -1, -1, -1]]
    assert np.flatnonzero(rows.loss).tolist() == [1, 2, 3, 7, 9, 11]
    assert (rows.tokens.dtype, rows.segments.dtype, rows.loss.dtype) == (np.uint32, np.int32, np.bool_)


def test_rows_are_no_longer_than_those_they_are_read_with() -> None:
    pairs = PairRows([(FIRST, LONG), (SECOND, None)])
    assert pairs.read(np.array([1])).tokens.shape == (1, 2)
    assert (len(pairs), pairs.row_length) == (2, 7)


def test_arrays_are_as_good_as_lists() -> None:
    arrays = Tokens(np.array([1, 2, 3], np.uint32), np.array([False, False, True]))
    assert PairRows([(arrays, None)]).digest == PairRows([(FIRST, None)]).digest


def test_the_digest_is_of_ids_masks_and_sides() -> None:
    digests = {
        PairRows(pairs).digest
        for pairs in (
            [(FIRST, SECOND)],
            [(SECOND, FIRST)],
            [(FIRST, None), (SECOND, None)],
            [(Tokens([1, 2, 3], [False, True, True]), SECOND)],
        )
    }
    assert len(digests) == 4


def test_what_teaches_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="pair 1: an answer has no token"):
        PairRows([(FIRST, None), (SECOND, Tokens([1, 2], [True, False]))])
    with pytest.raises(DataError, match="pair 0: neither"):
        PairRows([(None, None)])
    with pytest.raises(DataError, match="no pairs"):
        PairRows([])
    with pytest.raises(ValueError, match="2 ids and 1 marks"):
        PairRows([(Tokens([1, 2], [True]), None)])
