"""The largest number that fits, beside a search that tries them all."""

from llmkit.estimate.fit import largest


def test_it_is_what_a_search_one_by_one_finds() -> None:
    for limit in range(200):
        tried = max((number for number in range(1, 300) if 3 * number <= limit), default=0)
        assert largest(lambda number, limit=limit: 3 * number <= limit) == tried


def test_nothing_fits_where_one_does_not() -> None:
    assert largest(lambda number: False) == 0


def test_it_need_not_grow_in_a_line() -> None:
    assert largest(lambda number: min(number, 4096) + number**2 <= 10**20) == 9_999_999_999


def test_few_questions_find_a_large_answer() -> None:
    asked = []
    assert largest(lambda number: asked.append(number) or number <= 10**12) == 10**12
    assert len(asked) <= 2 * 41
