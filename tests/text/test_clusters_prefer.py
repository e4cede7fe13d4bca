"""Preferences as they are typed."""

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.text.clusters_prefer import FIRST, WORST, badness, parse_preference


def test_terms_are_read_in_their_order() -> None:
    source, date, length = parse_preference("source:wiki>web, date:max,length:min")
    assert source.order == ("wiki", "web") and (date.order, length.order) == ("max", "min")
    assert {"date", "added"} <= set(date.paths) and length.paths == ("length",)
    assert parse_preference("metadata.score:max,first")[1] is FIRST


@pytest.mark.parametrize(
    "text", ["", "source", "source:", "a:b>b", "a:>b", "first,length:max", "a:max,,b:min"]
)
def test_what_is_no_preference_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--prefer"):
        parse_preference(text)


def test_the_value_named_first_is_best_and_one_not_named_is_worst() -> None:
    (term,) = parse_preference("source:wiki>web")
    assert [badness(term, value, "") for value in ("wiki", "web", "spam", None)] == [0, 1, 2, 2]


def test_numbers_and_dates_are_ordered() -> None:
    largest, least = parse_preference("metadata.score:max,date:min")
    assert badness(largest, 7, "") < badness(largest, 6.5, "") < badness(largest, None, "") == WORST
    dates = ["2024-01-02", "2024-01-02T00:00:01Z", "2024-01-02T02:00:00+01:00", "2024-03-01"]
    assert sorted(dates, key=lambda one: badness(least, one, "")) == dates


def test_a_word_has_no_largest() -> None:
    (term,) = parse_preference("metadata.score:max")
    for value in ("high", True, []):
        with pytest.raises(DataError, match=r"docs\.jsonl:3: metadata\.score is neither"):
            badness(term, value, "docs.jsonl:3")
