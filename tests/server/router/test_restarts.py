"""A worker that ends is started again, later each time, and given up when it ends too often."""

from llmkit.server.router.restarts import RestartConfig, Restarts


def test_the_fifth_crash_within_a_minute_is_the_last() -> None:
    restarts = Restarts(RestartConfig())
    assert [restarts.crashed(now) for now in range(5)] == [0.1, 0.2, 0.4, 0.8, None]


def test_crashes_that_are_rare_enough_go_on_with_at_most_five_seconds_between() -> None:
    restarts = Restarts(RestartConfig())
    delays = [restarts.crashed(16.0 * number) for number in range(20)]
    assert None not in delays and delays[:3] == [0.1, 0.2, 0.4] and delays[-1] == 5.0


def test_a_quiet_minute_is_a_new_beginning() -> None:
    restarts = Restarts(RestartConfig())
    assert [restarts.crashed(now) for now in (0.0, 1.0, 61.0)] == [0.1, 0.2, 0.1]
