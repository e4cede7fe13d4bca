"""Shares."""

from llmkit.text.ratios import ratio


def test_a_part_of_nothing_is_none_of_it() -> None:
    assert ratio(3, 4) == 0.75
    assert ratio(3, 0) == 0.0
