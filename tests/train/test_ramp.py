"""Batches that grow with the step."""

import pytest

from llmkit.errors import ConfigError
from llmkit.train.ramp import BatchRamp, parse_ramp


def test_stairs_worked_out_by_hand() -> None:
    ramp = BatchRamp(2, 8, 6)  # three rises in six updates
    assert [ramp.rows_of(step) for step in range(9)] == [2, 2, 4, 4, 6, 6, 8, 8, 8]
    assert ramp.rows_before(9) == 48


@pytest.mark.parametrize(
    ("rows", "full", "steps"), [(1, 7, 10), (3, 12, 100), (4, 4, 5), (5, 50, 3), (1, 64, 1)]
)
def test_rows_before_a_step_are_the_sum_of_those_before(rows: int, full: int, steps: int) -> None:
    ramp, total = BatchRamp(rows, full, steps), 0
    for step in range(2 * steps + 3):
        assert ramp.rows_before(step) == total
        total += ramp.rows_of(step)
    assert ramp.rows_of(0) == rows
    assert ramp.rows_of(steps) == ramp.rows_of(10 * steps) == full


def test_the_steps_for_some_rows_are_the_fewest_that_have_them() -> None:
    ramp = BatchRamp(2, 8, 6)
    for rows in range(1, 80):
        steps = ramp.steps_for(rows)
        assert ramp.rows_before(steps - 1) < rows <= ramp.rows_before(steps)


@pytest.mark.parametrize("text", ["8", "8:", ":9", "0:9", "8:0", "a:b", "8:9:1", "-1:4"])
def test_what_is_no_ramp_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="--batch-ramp must be ROWS:STEPS") as caught:
        parse_ramp(text, 16)
    assert "8:1000" in caught.value.hint


def test_a_batch_is_a_whole_number_of_first_ones() -> None:
    assert parse_ramp("8:100", 32) == BatchRamp(8, 32, 100)
    with pytest.raises(ConfigError, match="a batch of 30 rows is no whole number of 8 rows") as caught:
        parse_ramp("8:100", 30)
    assert caught.value.hint == "--batch-rows 32, or begin with a divisor of 30"
