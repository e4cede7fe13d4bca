"""What is written for people is JSON like any other."""

import json

import msgspec

from llmkit.formats.json_text import json_text


class Point(msgspec.Struct):
    x: int
    name: str


def test_the_text_is_the_standard_librarys_with_two_spaces() -> None:
    value = {"a": [1, {"b": None}], "é": 0.5, "c": "\n"}
    assert json_text(value).decode() == json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    assert json_text(Point(1, "x")) == json_text({"x": 1, "name": "x"})
