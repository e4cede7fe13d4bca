"""Cases take turns, and the figures are medians."""

import pytest

from llmkit.probe.timing import Clocked, Timing, median_ratio, take_turns


def test_cases_take_turns_after_a_round_that_is_not_counted() -> None:
    calls: list[str] = []
    rounds: list[int] = []
    timings = take_turns(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, after_round=rounds.append
    )
    assert "".join(calls) == "baabba"
    assert rounds == [0, 1, 2]
    assert all(len(timing.seconds) == len(timing.cpu_seconds) == 2 for timing in timings.values())


def test_median_and_spread_by_hand() -> None:
    timing = Timing([1.0, 2.0, 3.0, 4.0, 100.0], [1.0] * 5)
    assert timing.median_seconds == 3.0
    assert timing.spread == pytest.approx((4.0 - 2.0) / 2 / 3.0)
    assert Timing([1.0], [1.0]).spread == 0.0


def test_the_ratio_is_taken_within_each_round() -> None:
    # the machine was three times slower in the last round: seconds moved, the ratio did not
    assert median_ratio([1.0, 1.0, 3.0], [2.0, 2.0, 6.0]) == 0.5


def test_what_goes_before_and_after_a_case_is_outside_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    calls: list[str] = []

    def passes(seconds: float, what: str) -> None:
        nonlocal now
        now += seconds
        calls.append(what)

    monkeypatch.setattr("time.perf_counter", lambda: now)
    timings = take_turns(
        {"a": lambda: passes(1.0, "run")},
        1,
        before=lambda name: passes(10.0, f"before {name}"),
        after=lambda name: passes(100.0, f"after {name}"),
    )
    assert calls == ["before a", "run", "after a"] * 2
    assert timings["a"].seconds == [1.0]


def test_a_case_with_a_clock_of_its_own_is_believed() -> None:
    timings = take_turns({"a": lambda: Clocked(7.0, 3.0)}, 2)
    assert timings["a"] == Timing([7.0, 7.0], [3.0, 3.0])
