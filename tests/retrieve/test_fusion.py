"""One ranking of several."""

import pytest

from llmkit.retrieve.fusion import fuse
from llmkit.retrieve.search import Found


def ranking(*passages: int) -> list[Found]:
    return [Found(passage, 9.0 - place) for place, passage in enumerate(passages)]


def test_places_are_added_up_and_scores_do_not_count() -> None:
    fused = fuse([ranking(7, 3, 5), [Found(3, 1e9), Found(9, -1.0)]], 9)
    expected = {3: 1 / 62 + 1 / 61, 7: 1 / 61, 9: 1 / 62, 5: 1 / 63}
    assert [one.passage for one in fused] == [3, 7, 9, 5]
    assert {one.passage: one.score for one in fused} == pytest.approx(expected)


def test_of_equal_sums_the_lowest_number_is_first_and_no_more_than_asked_come() -> None:
    assert [one.passage for one in fuse([ranking(8, 2), ranking(2, 8)], 9)] == [2, 8]
    assert [one.passage for one in fuse([ranking(8, 2), ranking(4)], 2)] == [4, 8]
    assert fuse([[], []], 3) == []
