"""Parts of a document, against regular expressions."""

import re

from hypothesis import given, settings

from llmkit.text.features import Features, repeats
from tests.text.clean_texts import TEXTS
from tests.text.peer_rules import duplicates, words_of


@settings(deadline=None)
@given(TEXTS)
def test_lines_and_paragraphs_repeat_as_regular_expressions_part_them(text: str) -> None:
    document = Features(text)
    for found, parts in (
        (document.line_repeats, re.split(r"\n+", text)),
        (document.paragraph_repeats, re.split(r"\n{2,}", text.strip())),
        (document.filled_line_repeats, [line for line in text.split("\n") if line.strip()]),
    ):
        assert found == (*duplicates(parts), len(parts))


@settings(deadline=None)
@given(TEXTS)
def test_words_are_counted_without_being_looked_at(text: str) -> None:
    looked = Features(text)
    assert len(looked.words) == looked.num_words == Features(text).num_words == len(words_of(text))


def test_a_known_number_of_words_is_believed() -> None:
    assert Features("a b", num_words=7).num_words == 7


def test_repeats_worked_by_hand() -> None:
    assert repeats(["ab", "c", "ab", "ab"]) == (2, 4, 4)
