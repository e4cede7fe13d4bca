"""Documents cut into passages."""

import itertools
from pathlib import Path

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmkit.retrieve.passages import CharacterMeasure, TokenMeasure, passages
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.spans import Spans

TEXT = st.text(alphabet=st.sampled_from("ab .!?\n#é東\t"), max_size=300)


def cut(text: str, size: int, overlap: int = 0) -> list[tuple[str, str]]:
    measure = CharacterMeasure(len(text), size, overlap)
    return [(text[start:end], heading) for start, end, heading in passages(text, measure)]


@settings(deadline=None)
@given(TEXT, st.integers(1, 40), st.integers(0, 19))
def test_passages_hold_every_word_character_and_none_is_longer_than_asked(
    text: str, size: int, overlap: int
) -> None:
    overlap = min(overlap, (size - 1) // 2)
    found = list(passages(text, CharacterMeasure(len(text), size, overlap)))
    covered = {place for one in found for place in range(one.start, one.end)}
    assert covered >= {place for place, character in enumerate(text) if not character.isspace()}
    assert all(0 < one.end - one.start <= size for one in found)
    assert all(text[one.start : one.end].strip() == text[one.start : one.end] for one in found)


@settings(deadline=None)
@example("??  ??", 3, 1)
@given(TEXT, st.integers(2, 40), st.integers(0, 19))
def test_each_passage_begins_behind_the_one_before_or_in_its_last_part(
    text: str, size: int, overlap: int
) -> None:
    overlap = min(overlap, (size - 1) // 2)
    found = list(passages(text, CharacterMeasure(len(text), size, overlap)))
    for before, after in itertools.pairwise(found):
        assert before.start < after.start
        assert after.start >= before.end - overlap


def test_a_cut_prefers_headings_to_paragraphs_to_lines_to_sentences_to_words() -> None:
    assert [part for part, _ in cut("one two\n\nthree. four\n# Five\nsix", 24)] == [
        "one two\n\nthree. four",
        "# Five\nsix",
    ]
    assert [part for part, _ in cut("one two.\n\nthree four five", 16)] == ["one two.", "three four five"]
    assert [part for part, _ in cut("one. two\nthree four", 12)] == ["one. two", "three four"]
    assert [part for part, _ in cut("aa bb cc. dd ee", 13)] == ["aa bb cc.", "dd ee"]
    assert [part for part, _ in cut("aaaa bbbb cccc", 8)] == ["aaaa", "bbbb", "cccc"]
    assert [part for part, _ in cut("aaaabbbbcc", 4)] == ["aaaa", "bbbb", "cc"]


def test_a_hash_that_is_no_heading_does_not_end_a_passage() -> None:
    assert next(part for part, _ in cut("one two\n#three four five six seven", 30)).startswith(
        "one two\n#three"
    )


def test_a_passage_knows_the_headings_that_it_stands_under() -> None:
    text = "# Manual\nintro text\n## Install\nrun make\n## Use ##\ntype it\n# End\nbye"
    assert cut(text, 20) == [
        ("# Manual\nintro text", "Manual"),
        ("## Install\nrun make", "Manual > Install"),
        ("## Use ##\ntype it", "Manual > Use"),
        ("# End\nbye", "End"),
    ]


def test_overlap_repeats_whole_words_but_nothing_before_a_heading() -> None:
    parts = [part for part, _ in cut("one two three four five six\n# Seven\neight", 14, 6)]
    assert parts == ["one two three", "three four", "four five six", "# Seven\neight"]


def test_tokens_measure_passages_where_a_tokenizer_is_given(byte_level_dir: Path) -> None:
    from llmkit.tokens.spans import token_spans

    tokenizer = load_tokenizer(byte_level_dir)
    text = "The licence grants a right to each of you. Nothing more is said here, and no more is meant. " * 5
    ids = tokenizer.backend.encode(text, add_special_tokens=False).ids
    spans = token_spans(tokenizer, tokenizer.backend, text, np.array(ids))
    found = list(passages(text, TokenMeasure(spans, len(text), 40, 10)))
    assert len(found) > 5
    for one in found:
        own = [start for start, end in spans.chars.tolist() if one.start <= start and end <= one.end]
        assert len(own) <= 40
    assert any(after.start < before.end for before, after in itertools.pairwise(found))


@settings(deadline=None)
@given(
    st.text(alphabet=st.sampled_from("ab .\n#é東🎉"), max_size=120),
    st.lists(st.integers(1, 5), min_size=1, max_size=9),
    st.integers(1, 9),
    st.integers(0, 4),
)
@example("tea🎉🎉🎉 ", [1], 6, 0)
def test_no_passage_touches_more_tokens_than_asked_and_no_overlap_though_characters_have_several(
    text: str, widths: list[int], size: int, overlap: int
) -> None:
    overlap = min(overlap, (size - 1) // 2)
    owners = [place for place, letter in enumerate(text.rstrip()) for _ in letter.encode()]  # of each byte
    tokens, sizes = list[list[int]](), itertools.cycle(widths)
    while owners:
        width = next(sizes)
        tokens, owners = [*tokens, owners[:width]], owners[width:]
    chars = np.array([(token[0], token[-1] + 1) for token in tokens], np.int64).reshape(-1, 2)
    found = list(passages(text, TokenMeasure(Spans(chars, chars), len(text), size, overlap)))
    covered = {place for one in found for place in range(one.start, one.end)}
    assert {place for place, letter in enumerate(text) if not letter.isspace()} <= covered
    for one in found:
        touched = [token for token in tokens if one.start <= token[-1] and token[0] < one.end]
        assert len(touched) <= size or one.end - one.start == 1
    for before, after in itertools.pairwise(found):
        shared = [token for token in tokens if after.start <= token[-1] and token[0] < before.end]
        assert len(shared) <= overlap or after.start >= before.end


def test_tokens_without_a_place_in_the_text_cut_nothing() -> None:
    empty = Spans(np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64))
    assert [one[:2] for one in passages("abc", TokenMeasure(empty, 3, 4, 0))] == [(0, 3)]
