"""One form of text, by Python's own tables and by hand."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.text.normalise import normalise


@pytest.mark.parametrize(
    ("before", "after", "edits"),
    [
        ("e\u0301te\u0301", "été", 1),
        ("a\r\nb\rc\u2028d\x85e", "a\nb\nc\nd\ne", 4),
        ("a\x00b\x07c\x7fd\x9fe\ufefff\ufffeg\U0001ffff", "abcdefg", 7),
        ("page\fpage", "page\npage", 1),
        ("tab\tstays ﬁ² ｆ \u200dזְ \u00ad\u200f", "tab\tstays ﬁ² ｆ \u200dזְ \u00ad\u200f", 0),
        ("\ud800x", "x", 1),
        ("", "", 0),
    ],
)
def test_what_is_made_alike_and_what_is_left(before: str, after: str, edits: int) -> None:
    assert normalise(before) == (after, edits)


@given(st.text())
def test_it_is_idempotent_and_composed_and_keeps_every_letter(text: str) -> None:
    once, _ = normalise(text)
    assert normalise(once) == (once, 0)
    assert unicodedata.is_normalized("NFC", once)
    letters = unicodedata.normalize("NFC", "".join(letter for letter in text if letter.isalpha()))
    assert unicodedata.normalize("NFC", "".join(letter for letter in once if letter.isalpha())) == letters
