"""Words as spaCy 3.8's blank English pipeline splits them: the expected lists were printed by it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.text.english_words import split_any, split_chunk

SPACY = {
    "Hello,": "Hello ,",
    "world!": "world !",
    "It's": "It 's",
    "don't": "do n't",
    "Don’t": "Do n’t",
    "dont": "do nt",
    "cannot": "can not",
    "can't've": "ca n't 've",
    "e.g.": "e.g.",
    "U.S.": "U.S.",
    "a_b": "a_b",
    "well-known": "well - known",
    "25-year-old": "25 - year - old",
    "http://x.com/a?b=c": "http://x.com/a?b=c",
    "$5.00": "$ 5.00",
    "(x)": "( x )",
    "10am": "10 am",
    "5km.": "5 km .",
    "Mr.": "Mr.",
    "Passengers-Mr.": "Passengers - Mr.",
    "''Galactica": "'' Galactica",
    "(true):": "( true ):",
    "wait...what": "wait ... what",
    "end.Start": "end . Start",
    "a,b": "a , b",
    "and/or": "and/or",
    "John's": "John 's",
    "him…….I’ll": "him … … .I’ll",
    "--": "--",
    "were": "were",
}


@pytest.mark.parametrize(("chunk", "words"), SPACY.items(), ids=SPACY)
def test_a_chunk_is_split_as_spacy_splits_it(chunk: str, words: str) -> None:
    assert split_chunk(chunk) == words.split()


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Zs", "Zl", "Zp", "Cc"]), min_size=1, max_size=30))
def test_nothing_of_a_chunk_is_lost_or_added(chunk: str) -> None:
    assert "".join(split_chunk(chunk)) == chunk


@settings(deadline=None, max_examples=1000)
@given(st.text(st.sampled_from("abeMr’'\"()[],.;:!?-“”XD1é"), min_size=1, max_size=9))
def test_the_short_way_splits_as_the_rules_do(chunk: str) -> None:
    assert split_chunk(chunk) == split_any(chunk)
