"""Requests that are made again, on a clock that only waits move."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from llmkit.retrieve import retry
from llmkit.retrieve.retry import LateError, PatientClient, UnansweredError


class Clock:
    """Time that passes where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retry.time, "monotonic", lambda: clock.now)
    return clock


def patient(clock: Clock, answers: Callable[[httpx.Request], httpx.Response], **more: Any) -> PatientClient:
    client = httpx.Client(transport=httpx.MockTransport(answers))
    settings = {"seconds": 20.0, "tries": 4, "first_wait": 1.0} | more
    return PatientClient(client, sleep=clock.sleep, **settings)


@pytest.mark.parametrize("status", sorted(retry.PASSING))
def test_what_may_pass_is_asked_again_later_and_later_and_then_told(clock: Clock, status: int) -> None:
    answer = patient(clock, lambda _: httpx.Response(status, text="not now")).ask("GET", "http://h")
    assert (answer.status, answer.content, answer.after_tries) == (status, b"not now", " (4 times)")
    assert clock.waits == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
def test_what_cannot_pass_is_asked_once(clock: Clock, status: int) -> None:
    answer = patient(clock, lambda _: httpx.Response(status)).ask("GET", "http://h")
    assert (answer.status, answer.after_tries, clock.waits) == (status, "", [])


def test_a_server_says_itself_how_long_to_wait_unless_that_is_no_number(clock: Clock) -> None:
    told = iter(["5", "Wed, 21 Oct 2026 07:28:00 GMT", "0.5"])
    headers: Callable[[], dict[str, str]] = lambda: {"retry-after": next(told, "0")}  # noqa: E731
    patient(clock, lambda _: httpx.Response(429, headers=headers())).ask("GET", "http://h")
    assert clock.waits == [5.0, 2.0, 4.0]


def test_a_wait_for_which_there_is_no_time_is_not_begun(clock: Clock) -> None:
    answers = lambda _: httpx.Response(503, headers={"retry-after": "3600"})  # noqa: E731
    assert patient(clock, answers).ask("GET", "http://h").status == 503
    assert clock.waits == []
    patient(clock, lambda _: httpx.Response(503), seconds=6.0).ask("GET", "http://h")
    assert clock.waits == [1.0, 2.0]


def test_a_try_has_the_time_that_is_left_and_one_that_takes_it_all_is_late(clock: Clock) -> None:
    given: list[float] = []

    def still(request: httpx.Request) -> httpx.Response:
        given.append(request.extensions["timeout"]["read"])
        if len(given) == 1:
            return httpx.Response(503)
        clock.now += given[-1]
        raise httpx.ReadTimeout("late")

    with pytest.raises(LateError, match="no answer within 20 seconds"):
        patient(clock, still).ask("GET", "http://h")
    assert given == [20.0, 19.0] and clock.now == 20.0


def test_a_connection_that_breaks_is_tried_again_and_then_told_in_its_words(clock: Clock) -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(UnansweredError, match=r"refused \(4 times\)"):
        patient(clock, broken).ask("GET", "http://h")


def test_an_answer_that_cannot_be_unpacked_is_none(clock: Clock) -> None:
    packed = lambda _: httpx.Response(  # noqa: E731
        200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"hello")
    )
    with pytest.raises(UnansweredError, match=r"incorrect header check \(4 times\)"):
        patient(clock, packed).ask("GET", "http://h")
