"""The token that ends a turn stops the model, beside those that did before."""

import pytest

from llmkit.workflows.stop_tokens import with_turn_end


@pytest.mark.parametrize(
    ("told", "stops", "expected"),
    [
        ({}, (), 7),
        ({}, (1,), [1, 7]),
        ({"eos_token_id": 2}, (1,), [2, 7]),
        ({"eos_token_id": [2, 3]}, (1,), [2, 3, 7]),
        ({"eos_token_id": [7, 3]}, (1,), [7, 3]),
        ({"eos_token_id": None}, (1,), 7),
    ],
)
def test_the_end_of_a_turn_is_one_of_the_tokens_that_stop(
    told: dict[str, object], stops: tuple[int, ...], expected: object
) -> None:
    found = with_turn_end({"top_p": 0.5, **told}, stops, 7)
    assert found == {"top_p": 0.5, "eos_token_id": expected}


def test_a_template_whose_turns_end_in_no_one_token_changes_nothing() -> None:
    assert with_turn_end({"top_p": 0.5}, (1,), None) == {"top_p": 0.5}
