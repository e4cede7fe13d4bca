"""Requests to stop, by signal and by the clock."""

import os
import signal
import time

import pytest

from llmkit.signals import Ending
from llmkit.train import stop as stop_module
from llmkit.train.stop import StopRequest


def test_sigterm_is_a_request_and_interrupts_nothing() -> None:
    with StopRequest() as stop:
        assert stop.reason is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason == "sigterm"


def test_time_over_is_a_request() -> None:
    with StopRequest(max_seconds=0.01) as stop:
        time.sleep(0.02)
        assert stop.reason == "max_time"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_module, "INTERRUPT_AFTER_SECONDS", 0.1)


@pytest.mark.usefixtures("impatient")
def test_ctrl_c_waits_for_the_end_of_a_step_but_not_for_long() -> None:
    with StopRequest() as stop, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.reason == "sigint"
        time.sleep(5)


@pytest.mark.usefixtures("impatient")
def test_at_the_end_of_a_step_ctrl_c_waits_for_what_follows() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        stop.hold()
        time.sleep(0.2)
        assert stop.reason == "sigint"


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    with StopRequest(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)


def test_the_handlers_from_before_come_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize(
    ("number", "reason", "raised"),
    [(signal.SIGTERM, "sigterm", SystemExit), (signal.SIGINT, "sigint", KeyboardInterrupt)],
)
def test_a_signal_that_came_before_and_was_lost_is_a_request(
    number: signal.Signals, reason: str, raised: type[BaseException]
) -> None:
    before = signal.signal(number, Ending())
    try:
        with pytest.raises(raised):
            signal.raise_signal(number)
        with StopRequest() as stop:
            stop.hold()
            assert stop.reason == reason
    finally:
        signal.signal(number, before)


def test_a_terminal_that_goes_is_a_request_unless_that_was_to_be_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.reason == "sighup"
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.reason is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_ctrl_c_that_is_to_be_ignored_stops_no_run_in_the_background() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a script's & has it
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.reason is None
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
