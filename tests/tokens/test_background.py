"""Work in the background: its result, its errors, and that nobody waits for it after Ctrl-C."""

import threading
import time
from collections.abc import Iterator

import pytest

from llmkit.errors import DataError
from llmkit.tokens.background import TEXTS_AHEAD, run_in_background


def _nothing() -> None:
    pass


def test_the_work_gets_all_texts_in_order_and_its_result_comes_back() -> None:
    texts = [str(number) for number in range(1000)]
    assert run_in_background(list, texts, tick=_nothing) == texts
    assert run_in_background(lambda texts: sum(map(int, texts)), texts, tick=_nothing) == 499_500
    assert run_in_background(list, [], tick=_nothing) == []


def test_texts_are_drawn_in_this_thread_and_few_ahead() -> None:
    drawn: list[int] = []
    here = threading.current_thread()

    def texts() -> Iterator[str]:
        for number in range(TEXTS_AHEAD * 3):
            assert threading.current_thread() is here
            drawn.append(number)
            yield "x"

    def slow(texts: Iterator[str]) -> int:
        assert threading.current_thread() is not here
        next(texts)
        time.sleep(0.3)
        ahead = len(drawn)
        assert sum(1 for _ in texts) == TEXTS_AHEAD * 3 - 1
        return ahead

    assert run_in_background(slow, texts(), tick=_nothing) <= TEXTS_AHEAD + 3


def test_an_error_of_the_work_comes_back_and_ends_the_reading() -> None:
    drawn: list[int] = []

    def texts() -> Iterator[str]:
        for number in range(100_000):
            drawn.append(number)
            yield "x"

    def fails(texts: Iterator[str]) -> None:
        next(texts)
        raise DataError("bad", hint="none")

    with pytest.raises(DataError, match="bad"):
        run_in_background(fails, texts(), tick=_nothing)
    assert len(drawn) < 100_000


def test_a_time_out_of_the_work_is_its_error_and_not_ours() -> None:
    def times_out(texts: Iterator[str]) -> None:
        list(texts)
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        run_in_background(times_out, ["x"], tick=_nothing)


def test_work_that_wants_no_more_ends_the_reading() -> None:
    def endless() -> Iterator[str]:
        while True:
            yield "x"

    assert run_in_background(lambda texts: next(texts), endless(), tick=_nothing) == "x"


def test_an_error_while_reading_ends_the_work_and_goes_on_from_here() -> None:
    ended = threading.Event()

    def texts() -> Iterator[str]:
        yield "x"
        raise DataError("line 2", hint="none")

    def work(texts: Iterator[str]) -> None:
        try:
            list(texts)
        finally:
            ended.set()

    with pytest.raises(DataError, match="line 2"):
        run_in_background(work, texts(), tick=_nothing)
    assert ended.wait(5)


def test_an_interruption_does_not_wait_for_work_that_cannot_hear_it() -> None:
    release = threading.Event()
    ticks: list[float] = []

    def deaf(texts: Iterator[str]) -> None:
        list(texts)
        release.wait(60)

    def tick() -> None:
        ticks.append(time.monotonic())
        if len(ticks) > 3:
            raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_in_background(deaf, ["x"], tick=tick)
    assert time.monotonic() - begin < 30
    release.set()
