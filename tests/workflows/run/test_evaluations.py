"""How often a run is scored, and for how long."""

from types import SimpleNamespace
from typing import Any

import pytest

from llmkit.workflows.run.evaluations import Evaluations, plan_evaluations

SETUP: Any = SimpleNamespace(recipe=SimpleNamespace(steps=7, batch_rows=4), eval_every=3)


@pytest.mark.parametrize(
    ("limit", "from_the_start", "count", "rows"),
    [(None, False, 3, 30), (None, True, 4, 30), (10, False, 3, 10), (50, False, 3, 30)],
)  # after 3, 6 and 7 updates
def test_every_evaluation_takes_its_share_of_an_update_for_each_row(
    limit: int | None, from_the_start: bool, count: int, rows: int
) -> None:
    found = plan_evaluations(SETUP, 30, limit, step_seconds=1.2, share=0.5, from_the_start=from_the_start)
    assert (found.count, found.rows) == (count, rows)
    assert found.seconds == pytest.approx(count * rows * 0.3 * 0.5)


def test_without_rows_to_score_there_are_none() -> None:
    assert plan_evaluations(SETUP, 0, None, step_seconds=1.2, share=0.5, from_the_start=True) == Evaluations()
