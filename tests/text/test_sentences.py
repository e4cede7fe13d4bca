"""Sentences against a loop over words, and by hand."""

from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.text.sentences import count_sentences
from tests.text.clean_texts import TEXTS
from tests.text.peer_rules import num_sentences


@settings(deadline=None)
@given(st.lists(TEXTS.map(lambda text: " ".join(text.split())), max_size=5))
def test_sentences_of_lines_are_counted_line_by_line(lines: list[str]) -> None:
    assert count_sentences(lines) == sum(map(num_sentences, lines))


def test_sentences_worked_by_hand() -> None:
    assert count_sentences(["He left. She stayed."]) == 2
    assert count_sentences(['He said "no." And Mr. X came! ok?']) == 3
    assert count_sentences(["no end", "at all"]) == 2
    assert count_sentences(["Wait... what?"]) == 1
    assert count_sentences([]) == 0
