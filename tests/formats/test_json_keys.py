"""Keys that stand twice, however deep, and strings that only look like keys."""

import json
from typing import Any

import pytest

from llmkit.errors import DataError
from llmkit.formats.json_keys import refuse_twice


@pytest.mark.parametrize(
    "content",
    ['{"a": 1, "b": 2, "a": 1}', '{"x": {"a": 1,"a" : 2}}', '{"x": [{"a": {}}, {"b": 0, "a": 1, "a": 2}]}'],
)
def test_a_key_that_stands_twice_is_named(content: str) -> None:
    with pytest.raises(DataError, match="the key 'a' is there twice"):
        refuse_twice("c.json", content.encode(), json.loads(content))


def test_the_last_of_many_keys_is_found_without_counting_each_of_them_through_all() -> None:
    content = "{" + "".join(f'"k{number}": 0, ' for number in range(300_000)) + '"a": 1, "a": 2}'
    with pytest.raises(DataError, match="the key 'a' is there twice"):
        refuse_twice("c.json", content.encode(), json.loads(content))


@pytest.mark.parametrize(
    "value", [{}, {"a": 1, "b": {"a": 2}}, {"a": 'is "b": 1', "c": ['" :']}, {"x": [{"a": 1}, {"a": 2}]}]
)
def test_other_objects_pass(value: Any) -> None:
    for content in (json.dumps(value), json.dumps(value, indent=2)):
        refuse_twice("c.json", content.encode(), value)
