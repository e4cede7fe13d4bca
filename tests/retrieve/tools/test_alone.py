"""Calls one after the other."""

import threading

import pytest

from llmkit.retrieve.tools.alone import Alone
from llmkit.retrieve.tools.config import ToolError


def test_two_calls_are_never_in_at_once_and_both_come_in() -> None:
    alone, inside, most = Alone(30.0), 0, 0

    def call() -> None:
        nonlocal inside, most
        for _ in range(200):
            with alone.turn():
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=call) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (inside, most) == (0, 1)


def test_a_call_that_would_wait_too_long_is_told_so_and_the_next_one_comes_in() -> None:
    alone = Alone(0.01)
    with alone.turn(), pytest.raises(ToolError, match="busy with other calls"), alone.turn():
        pass
    with alone.turn():
        pass
