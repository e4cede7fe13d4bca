"""A text keeps its number while it is at work."""

from types import SimpleNamespace
from typing import Any

from llmkit.server.places import Places


def texts(*numbers: int) -> Any:
    return [SimpleNamespace(number=number) for number in numbers]


def test_a_text_keeps_its_place_and_a_new_one_gets_the_lowest_that_is_free() -> None:
    places = Places()

    def given(*numbers: int) -> dict[int, int]:
        return {place: one.number for place, one in places.given(texts(*numbers)).items()}

    assert given(7, 5, 9) == {0: 5, 1: 7, 2: 9}
    assert given(7, 9) == {1: 7, 2: 9}
    assert given(12, 9, 11, 7) == {1: 7, 2: 9, 0: 11, 3: 12}
    assert given() == {} and given(20) == {0: 20}
