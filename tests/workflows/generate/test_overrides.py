"""What a row says in JSON as settings."""

from dataclasses import fields

import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.workflows.generate.overrides import OVERRIDES, as_fields


def test_every_setting_can_be_a_rows_own() -> None:
    assert set(OVERRIDES) == {one.name for one in fields(SamplingConfig)}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"stop": "a"}, {"stop": ("a",)}),
        ({"stop": ["a", "b"]}, {"stop": ("a", "b")}),
        ({"logit_bias": {5: 1.0}}, {"logit_bias": ((5, 1.0),)}),
        ({"regex": "a"}, {"json_schema": None, "regex": "a", "choice": (), "grammar": None}),
        ({"json_schema": True}, {"json_schema": "true", "regex": None, "choice": (), "grammar": None}),
    ],
)
def test_a_rule_takes_the_place_of_every_other_and_lists_are_tuples(given: dict, expected: dict) -> None:  # type: ignore[type-arg]
    assert as_fields(given) == expected
