"""The first differing byte."""

import pytest

from llmkit.tokens.roundtrip import first_difference


def test_equal_texts_do_not_differ() -> None:
    assert first_difference("日本", "日本") is None


@pytest.mark.parametrize(
    ("text", "decoded", "byte", "line"),
    [
        ("abc", "abd", 2, 1),
        ("日本", "日", 3, 1),
        ("a", "ab", 1, 1),
        ("a\nb c", "a\nbc", 3, 2),
        ("", "x", 0, 1),
    ],
)
def test_the_first_byte_that_differs_is_named(text: str, decoded: str, byte: int, line: int) -> None:
    difference = first_difference(text, decoded)
    assert difference is not None
    assert (difference.byte, difference.line) == (byte, line)


def test_both_sides_are_shown_from_there_on() -> None:
    difference = first_difference("aé  b", "aé b")
    assert difference is not None
    assert (difference.byte, difference.expected, difference.found) == (4, " b", "b")
