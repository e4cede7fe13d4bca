"""What answers took that were given up is told once, of the latest."""

import pytest

from llmkit.server.answer import Usage
from llmkit.server.gate import Slot
from llmkit.server.left_answers import LeftAnswers


def give_up(left: LeftAnswers, request_id: str, written: int) -> None:
    with pytest.raises(ZeroDivisionError), left.noted(request_id, Slot(Usage(3, 0, written), 0.5)):
        raise ZeroDivisionError


def test_an_answer_that_is_given_up_is_told_once_and_one_that_came_is_not() -> None:
    left = LeftAnswers()
    give_up(left, "a", 5)
    with left.noted("b", Slot()):
        pass
    assert [left.take(one) for one in "aab"] == ["3 0 5 0.500000 - 0 -", None, None]


def test_only_the_latest_are_kept() -> None:
    left = LeftAnswers(most=2)
    for written, request_id in enumerate("abc"):
        give_up(left, request_id, written)
    assert [left.take(one) is not None for one in "abc"] == [False, True, True]
