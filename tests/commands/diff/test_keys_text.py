"""Keys side by side as text."""

from typing import Any

from llmkit.commands.diff.keys_text import keys_table, side_text
from llmkit.workflows.diff.keys import KeyDiff


def key(name: str = "key", **fields: Any) -> KeyDiff:
    return KeyDiff(**{"file": "f", "key": name, "a": 1, "b": 2, "only": None} | fields)


def test_a_value_is_json_and_a_side_without_the_key_is_a_dash() -> None:
    assert [
        line.split() for line in keys_table([key(a=None, b=[1, "x"]), key("other", b=None, only="a")])
    ] == [
        ["key", "A", "B"],
        ["key", "null", '[1,"x"]'],
        ["other", "1", "-"],
    ]
    assert keys_table([]) == []


def test_long_values_are_cut_and_escape_codes_made_visible() -> None:
    assert side_text(key(a="x" * 100), "a") == '"' + "x" * 30 + "…"
    assert "\x9b" not in side_text(key(a="\x9b"), "a")


def test_of_many_keys_the_rest_is_counted() -> None:
    lines = keys_table([key(str(number)) for number in range(1035)])
    assert len(lines) == 32 and lines[-1] == "  and 1,005 more (--json has them)"
