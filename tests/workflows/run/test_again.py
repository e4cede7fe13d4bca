"""How a stopped run is gone on with, as people are told."""

import pytest

from llmkit.errors import StoppedResumable
from llmkit.workflows.run.again import AGAIN, GOES_ON, over_again


@pytest.mark.parametrize(
    ("starts_over", "again", "goes_on"),
    [
        (False, "run the same line again to go on, or not", "step 3 is saved, the same line goes on"),
        (
            True,
            "run the same line without --resume never to go on, or not",
            "step 3 is saved, the same line without --resume never goes on",
        ),
    ],
)
def test_of_a_line_that_starts_over_it_is_said_what_to_leave_out(
    starts_over: bool, again: str, goes_on: str
) -> None:
    with pytest.raises(StoppedResumable) as stopped, over_again(starts_over):
        raise StoppedResumable("stopped", hint=f"{AGAIN}, or not")
    with pytest.raises(KeyboardInterrupt) as interrupted, over_again(starts_over):
        raise KeyboardInterrupt(f"step 3 is saved, {GOES_ON}")
    assert (stopped.value.hint, str(interrupted.value)) == (again, goes_on)


def test_ctrl_c_that_says_nothing_goes_on_saying_nothing() -> None:
    with pytest.raises(KeyboardInterrupt) as interrupted, over_again(True):
        raise KeyboardInterrupt
    assert str(interrupted.value) == ""
