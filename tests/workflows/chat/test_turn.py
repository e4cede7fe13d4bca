"""The figures of a reply."""

import pytest

from llmkit.workflows.chat.turn import Turn


def test_the_speed_is_that_of_the_tokens_after_the_first() -> None:
    turn = Turn(number=1, prompt_tokens=3, cached_tokens=0, seed=1, dropped_turns=0)
    assert turn.tokens_per_second == 0.0
    turn.completion_tokens, turn.first_seconds, turn.seconds = 11, 1.0, 3.0
    assert turn.tokens_per_second == pytest.approx(5.0)
