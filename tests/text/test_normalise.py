"""One form of text, by Python's own tables and by hand."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.text.normalise import NormaliseConfig, judge_replacements, normalise, replacement_rate


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


def test_each_part_can_be_left_out() -> None:
    text = "e\u0301\r\n\x07"
    assert normalise(text, NormaliseConfig(form="none")) == ("e\u0301\n", 2)
    assert normalise(text, NormaliseConfig(line_ends=False, controls=False)) == ("é\r\n\x07", 1)
    assert normalise("ﬁ²", NormaliseConfig(form="NFKC")) == ("fi2", 1)


@given(st.text())
def test_it_is_idempotent_and_composed_and_keeps_every_letter(text: str) -> None:
    once, _ = normalise(text)
    assert normalise(once) == (once, 0)
    assert unicodedata.is_normalized("NFC", once)
    letters = unicodedata.normalize("NFC", "".join(letter for letter in text if letter.isalpha()))
    assert unicodedata.normalize("NFC", "".join(letter for letter in once if letter.isalpha())) == letters


def test_a_text_that_lost_too_much_is_dropped() -> None:
    text = "x" * 998 + "\ufffd\ufffd"
    assert replacement_rate(text) == 0.002
    verdict = judge_replacements(text)
    assert verdict is not None
    assert (verdict.rule, verdict.value, verdict.threshold) == ("replacement characters", 0.002, 0.001)
    assert judge_replacements(text, 0.002) is None and judge_replacements("") is None
