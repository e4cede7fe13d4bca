"""Words as spaCy 3.8's blank English pipeline splits them: the expected lists were printed by it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.text.english import words as english_words
from llmkit.text.english.words import split_any, split_chunk

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
    "werent": "were nt",
    "Wed": "We d",
    "there've": "there 've",
    "that've": "that've",
    "y'all": "y' all",
    "Y'all": "Y'all",
    "lovin'": "lovin'",
    "5pm.": "5 pm .",
    "13pm": "13pm",
    ":))": ":))",
    "¯\\(ツ)/¯": "¯\\(ツ)/¯",
    "values[1:]": "values[1 :]",
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


_SLOW_ADDRESS = re.compile(english_words._ADDRESS.pattern.replace(r"(?:\S+@)?", r"(?:\S+(?::\S*)?@)?"))


def _split_slowly(chunk: str) -> list[str]:
    """The rules as spaCy applies them: a chunk is made anew for each sign, and searched from its front."""

    def special_of(part: str) -> list[str] | None:
        return english_words._special(part, 0, len(part))

    front: list[str] = []
    back: list[str] = []
    special: list[str] | None = None
    while chunk and (special := special_of(chunk)) is None:
        prefix = english_words._PREFIX.match(chunk)
        first = prefix.end() if prefix else 0
        if first and (special := special_of(chunk[first:])) is not None:
            front.append(chunk[:first])
            break
        suffix = english_words._SUFFIX.search(chunk, first)
        last = suffix.start() if suffix else len(chunk)
        if suffix and (special := special_of(chunk[:last])) is not None:
            back.append(chunk[last:])
            break
        if not first and not suffix:
            break
        if first:
            front.append(chunk[:first])
        if suffix and last < len(chunk):
            back.append(chunk[last:])
        chunk = chunk[first:last]
    if special is None:
        special = [chunk] if chunk and _SLOW_ADDRESS.fullmatch(chunk) else english_words._infixes(chunk)
    return english_words._joined(front + special + back[::-1])


_PARTS = (
    *"aBéÉ12.'’sS+°FCK$%m=-—([…\"“:;,!@/#?~<>_*^©®²€ß\\`",
    *("..", "...", "US$", "C$", "km", "km/h", "kB", "--", "http://", "x.com", "a.b"),
    *("x:", "://", ":80", ":)", "Mr", "Mr.", "don't", "cannot", "U.S.", "e.g.", "10am", "1.2.3.4"),
)


@settings(deadline=None, max_examples=1500)
@given(st.lists(st.sampled_from(_PARTS), min_size=1, max_size=24).map("".join))
def test_a_chunk_is_split_as_one_that_is_made_anew_for_each_sign(chunk: str) -> None:
    assert split_any(chunk) == _split_slowly(chunk)


@pytest.mark.parametrize(
    "part", ["=", ".", "..=", "a:", "a@", "'s", "+", "%", "C$", "(", "http://", "1km", "a."]
)
@pytest.mark.parametrize("end", ["", "x", ".", "@x.com", "5km"])
def test_long_runs_are_split_as_they_were(part: str, end: str) -> None:
    chunk = part * 100 + end
    assert split_any(chunk) == _split_slowly(chunk)


@pytest.mark.parametrize("part", ["=", "%", "(", "'s", "..="])
def test_only_the_ends_of_a_long_chunk_are_searched_for_each_sign(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []

    class Counting:
        def search(self, text: str, start: int) -> re.Match[str] | None:
            searched.append(len(text))
            return pattern.search(text, start)

    pattern = english_words._SUFFIX
    monkeypatch.setattr(english_words, "_SUFFIX", Counting())
    chunk = part * 1000
    assert "".join(split_any(chunk)) == chunk
    assert sum(searched) <= 8 * len(chunk)
