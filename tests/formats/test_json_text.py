"""What is written for people is JSON like any other."""

import json
import os

import msgspec

from llmkit.formats.json_text import encode_json, is_number, json_text, printable


class Point(msgspec.Struct):
    x: int
    name: str


def test_the_text_is_the_standard_librarys_with_two_spaces() -> None:
    value = {"a": [1, {"b": None}], "é": 0.5, "c": "\n"}
    assert json_text(value).decode() == json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    assert json_text(Point(1, "x")) == json_text({"x": 1, "name": "x"})


def test_a_name_that_is_not_utf8_is_told_by_its_bytes_wherever_it_stands() -> None:
    name = os.fsdecode(b"d\xff.jsonl")
    assert encode_json({name: [Point(1, name)], "whole": "é"}) == (
        rb'{"d\\xff.jsonl":[{"x":1,"name":"d\\xff.jsonl"}],"whole":"' + "é".encode() + b'"}'
    )
    assert json.loads(json_text({"at": name})) == {"at": r"d\xff.jsonl"}


def test_a_printable_name_is_the_name_where_it_can_be() -> None:
    assert [printable(os.fsdecode(one)) for one in ("日本.txt".encode(), b"\xff\xfea")] == [
        "日本.txt",
        r"\xff\xfea",
    ]


def test_a_true_and_a_text_are_no_numbers() -> None:
    values = json.loads('[0, -1.5, 1e9, true, false, null, "1", [1]]')
    assert [is_number(one) for one in values] == [*[True] * 3, *[False] * 5]
