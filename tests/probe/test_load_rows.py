"""Figures of outcomes that were worked out by hand, percentiles beside NumPy's."""

import numpy as np
import pytest

from llmkit.probe.load import Outcome
from llmkit.probe.load_rows import load_rows, percentiles


def test_percentiles_are_numpys() -> None:
    values = [float(one) for one in np.random.default_rng(0).exponential(size=501)]
    found = percentiles(values)
    assert found is not None
    assert (found.p50, found.p90, found.p99) == pytest.approx(np.percentile(values, [50, 90, 99]))


def test_percentiles_of_one_value_are_that_value_and_of_none_are_none() -> None:
    found = percentiles([2.0])
    assert found is not None and (found.p50, found.p90, found.p99) == (2.0, 2.0, 2.0)
    assert percentiles([]) is None


def test_speeds_are_over_the_time_from_the_first_start_to_the_last_end() -> None:
    outcomes = [
        Outcome(
            "short", sent=1.0, seconds=2.0, first_token_seconds=0.5, prompt_tokens=10, completion_tokens=4
        ),
        Outcome(
            "short", sent=2.0, seconds=9.0, first_token_seconds=3.0, prompt_tokens=10, completion_tokens=6
        ),
        Outcome("long", sent=3.0, seconds=1.0, error="503", completion_tokens=100),
    ]
    short, long, total = load_rows(outcomes, target=1.0)
    assert (short.kind, long.kind, total.kind) == ("short", "long", "all")
    assert short.seconds == long.seconds == total.seconds == 10.0
    assert short.tokens_per_second == total.tokens_per_second == 1.0
    assert short.prompt_tokens_per_second == 2.0 and short.requests_per_second == 0.2
    assert short.goodput_per_second == 0.1
    assert (long.failed, long.errors, long.completion_tokens, long.first_token) == (1, {"503": 1}, 0, None)
    assert (total.requests, total.failed, total.errors) == (3, 1, {"503": 1})


def test_one_kind_has_one_row_and_no_goodput_without_a_target() -> None:
    (row,) = load_rows([Outcome("short", seconds=1.0)], target=None)
    assert row.kind == "short" and row.goodput_per_second is None


def test_the_servers_first_words_on_each_error_are_kept() -> None:
    told = [("400", "too long"), ("400", "other"), ("503", None), ("503", "full"), ("cut short", None)]
    (row,) = load_rows([Outcome("short", seconds=1.0, error=one, said=said) for one, said in told], None)
    assert row.said == {"400": "too long", "503": "full"}
