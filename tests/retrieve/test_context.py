"""The passages of a prompt."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.retrieve.context import Excerpt, pack

TEXTS = {"a": "abcdefghijklmnopqrstuvwxyz", "b": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
SPANS = st.tuples(st.sampled_from("ab"), st.integers(0, 25), st.integers(1, 26)).filter(lambda s: s[1] < s[2])


def excerpt(document: str, start: int, end: int, score: float = 1.0) -> Excerpt:
    return Excerpt(document, start, end, TEXTS[document][start:end], score)


def length(one: Excerpt) -> int:
    return len(one.text)


@settings(deadline=None)
@given(st.lists(SPANS, max_size=8), st.integers(0, 60))
def test_what_is_packed_is_within_the_budget_and_never_the_same_twice(
    spans: list[tuple[str, int, int]], budget: int
) -> None:
    found = [excerpt(*span, score=-float(place)) for place, span in enumerate(spans)]
    packed = pack(found, length, budget)
    assert sum(map(length, packed)) <= budget
    for one in packed:
        assert one.text == TEXTS[one.document][one.start : one.end]
    for one, other in itertools.combinations(packed, 2):
        assert one.document != other.document or one.end < other.start or other.end < one.start
    if budget == 60 or not found:
        covered = {(one.document, place) for one in packed for place in range(one.start, one.end)}
        assert covered == {(name, place) for name, start, end in spans for place in range(start, end)}


def test_neighbours_are_joined_and_score_as_the_best() -> None:
    packed = pack([excerpt("a", 5, 10, 3.0), excerpt("b", 0, 2, 2.0), excerpt("a", 8, 14, 1.0)], length, 99)
    assert [(one.text, one.score) for one in packed] == [("fghijklmn", 3.0), ("AB", 2.0)]


def test_one_that_does_not_fit_leaves_its_room_to_a_shorter_one() -> None:
    packed = pack([excerpt("a", 0, 5, 3.0), excerpt("b", 0, 9, 2.0), excerpt("b", 20, 23, 1.0)], length, 8)
    assert [one.text for one in packed] == ["abcde", "UVW"]


def test_the_order_is_by_score_or_as_in_the_documents() -> None:
    found = [excerpt("a", 20, 22, 3.0), excerpt("b", 0, 2, 2.0), excerpt("a", 0, 2, 1.0)]
    assert [one.text for one in pack(found, length, 99)] == ["uv", "AB", "ab"]
    assert [one.text for one in pack(found, length, 99, "document")] == ["ab", "uv", "AB"]


def test_a_text_that_is_there_already_is_left_out() -> None:
    copy = Excerpt("mirror", 0, 3, "bcd", 1.0)
    assert len(pack([excerpt("a", 0, 5, 2.0), copy], length, 99)) == 1


def test_where_nothing_fits_the_best_is_cut_at_a_word() -> None:
    best = Excerpt("a", 10, 33, "one two three four five", 2.0)
    (one,) = pack([best, excerpt("b", 0, 20)], length, 12)
    assert (one.text, one.start, one.end) == ("one two", 10, 17)
    assert pack([best], length, 2) == []
