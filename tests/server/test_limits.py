"""A bucket passes what it may in every minute, whatever is asked for."""

import random

from llmkit.server.limits import Bucket


def test_sixty_a_minute_is_one_a_second_once_the_bucket_is_empty() -> None:
    bucket = Bucket.full(60, now=0.0)
    for _ in range(60):
        assert bucket.wait(0.0, 1) == 0.0
        bucket.take(0.0, 1)
    assert bucket.wait(0.0, 1) == 1.0
    assert bucket.wait(0.75, 1) == 0.25
    assert bucket.wait(1.0, 1) == 0.0


def test_what_is_charged_at_the_end_is_waited_for_by_the_next() -> None:
    bucket = Bucket.full(600, now=0.0)
    assert bucket.wait(0.0) == 0.0
    bucket.take(0.0, 900)  # more than it had
    assert 30.0 <= bucket.wait(0.0) < 30.001  # 300 below zero, at 10 a second
    assert bucket.wait(30.1) == 0.0


def test_never_more_than_capacity_and_rate_allow_passes() -> None:
    draw, now, passed = random.Random(0), 0.0, 0
    bucket = Bucket.full(120, now)
    while now < 300:
        now += draw.expovariate(10)
        if bucket.wait(now, 1) == 0.0:
            bucket.take(now, 1)
            passed += 1
    assert 120 + 2 * 290 <= passed <= 120 + 2 * now
