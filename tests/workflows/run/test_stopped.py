"""Processes that are stopped while others go on."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from llmkit.machine import is_stopped
from llmkit.workflows.run import stopped
from llmkit.workflows.run.stopped import stopped_are_ended

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells")
Child = subprocess.Popen[bytes]
_BRIEF = 0.3


@pytest.fixture(autouse=True)
def _is_brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopped, "STOPPED_SECONDS", _BRIEF)
    monkeypatch.setattr(stopped, "_LOOK_SECONDS", _BRIEF / 10)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Child]]:
    """Two, and none of those that pytest may have."""
    both = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    monkeypatch.setattr(stopped, "child_pids", lambda: [one.pid for one in both if one.returncode is None])
    yield both
    for one in both:
        one.kill()
        one.wait()


def _stop(child: Child) -> None:
    child.send_signal(signal.SIGSTOP)
    assert is_stopped(child.pid, wait=True)


def test_one_that_is_stopped_while_another_goes_on_is_killed_and_told(children: list[Child]) -> None:
    with stopped_are_ended() as ended:
        _stop(children[1])
        assert children[1].wait(60) == -signal.SIGKILL
    assert ended == {children[1].pid} and children[0].poll() is None


def test_all_that_are_stopped_at_once_stay(children: list[Child]) -> None:
    with stopped_are_ended() as ended:
        for one in reversed(children):
            _stop(one)
        time.sleep(3 * _BRIEF)
    assert not ended and [one.poll() for one in children] == [None, None]


def test_one_that_goes_on_in_time_stays_however_often_it_is_stopped(
    children: list[Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []
    real: Callable[[int], bool] = is_stopped

    def seen(pid: int) -> bool:
        found = real(pid)
        if pid == children[1].pid:
            looks.append(found)
            if looks.count(True) % 5 == 0:  # half of what it may
                children[1].send_signal(signal.SIGCONT)
        return found

    monkeypatch.setattr(stopped, "is_stopped", seen)
    with stopped_are_ended() as ended:
        while looks.count(True) < 25:
            if looks and not looks[-1]:
                children[1].send_signal(signal.SIGSTOP)
            time.sleep(0.01)
    assert not ended and children[1].poll() is None


def test_what_is_held_is_told_within_the_block_alone(children: list[Child]) -> None:
    with stopped_are_ended() as ended:
        pass
    _stop(children[0])
    time.sleep(3 * _BRIEF)
    assert not ended and children[0].poll() is None
