"""One ranking of several."""

import pytest

from llmkit.retrieve.fusion import fuse


def test_weighted_places_are_added_up() -> None:
    fused = fuse([[7, 3, 5], [3, 9]], [0.25, 0.75], 9)
    expected = {3: 0.25 / 7 + 0.75 / 6, 9: 0.75 / 7, 7: 0.25 / 6, 5: 0.25 / 8}
    assert [one for one, _ in fused] == [3, 9, 7, 5]
    assert dict(fused) == pytest.approx(expected)


def test_of_equal_sums_the_first_ranking_decides_and_no_more_than_asked_come() -> None:
    assert [one for one, _ in fuse([["a", "b"], ["b", "a"]], [1, 1], 9)] == ["a", "b"]
    assert [one for one, _ in fuse([["a", "b"], ["c"]], [1, 1], 2)] == ["a", "c"]
    assert fuse([[], []], [1, 1], 3) == []


def test_without_weight_a_ranking_only_appends_what_the_other_has_not() -> None:
    assert [one for one, _ in fuse([["a", "b"], ["c", "b"]], [0, 1], 3)] == ["c", "b", "a"]
