"""A loss is above 0, whichever way is good."""

import pytest

from llmkit.probe.evaluate.headline import Headline


@pytest.mark.parametrize(("better", "loss"), [("lower", 0.25), ("higher", -0.25)])
def test_a_rise_is_a_loss_where_lower_is_better_and_a_gain_where_higher_is(better: str, loss: float) -> None:
    now, before = (
        Headline(name="x", value=value, error=None, better=better)  # type: ignore[arg-type]
        for value in (0.75, 0.5)
    )
    assert now.loss(before) == loss
