"""Parts of a text: the words are those of the whole text, wherever it is cut and however it arrives."""

import random
from collections import Counter
from pathlib import Path

import pytest
from tokenizers import Regex, pre_tokenizers

from llmkit.tokens.parts import LONGEST_PART, LONGEST_RUN, PART_CHARS, cut_parts
from llmkit.tokens.patterns import GPT2, GPT4, QWEN2

LICENSE = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
ODD = "don't  stop\n\n\tat 1234567 ___x___ ²³ naïve e\u0301le\u0300ve — 日本 語。 🙂🙂 \r\n  ½cup  A" * 400


@pytest.mark.parametrize("pattern", [GPT2, GPT4, QWEN2])
@pytest.mark.parametrize("text", [LICENSE * 3, ODD])
def test_the_words_are_those_of_the_whole_text(pattern: str, text: str) -> None:
    cut = pre_tokenizers.Split(Regex(pattern), behavior="isolated").pre_tokenize_str
    parts = list(cut_parts([text]))
    assert len(parts) > 4
    assert Counter(word for part in parts for word, _ in cut(part)) == Counter(word for word, _ in cut(text))


@pytest.mark.parametrize("text", [LICENSE * 3, ODD, "語" * 50_000, "", "a", "a " * 5000 + "b" * 3000])
def test_parts_joined_are_the_text_and_do_not_depend_on_its_blocks(text: str) -> None:
    whole = list(cut_parts([text]))
    assert "".join(whole) == text
    assert all(0 < len(part) <= LONGEST_PART for part in whole)
    chance = random.Random(0)
    for size in (1, 977, PART_CHARS):
        blocks = [text[start : start + size] for start in range(0, len(text), size)]
        blocks.insert(chance.randint(0, len(blocks)), "")
        assert list(cut_parts(blocks)) == whole


def test_most_parts_have_about_the_size_asked_for() -> None:
    parts = list(cut_parts([LICENSE * 20]))
    assert all(PART_CHARS <= len(part) < PART_CHARS + 100 for part in parts[:-1])


@pytest.mark.parametrize("run", ["x" * 5000, "=" * 5000, " " * 5000, "\n\t" * 2500, "漢" * 5000])
def test_no_word_can_be_longer_than_a_thousand_characters(run: str) -> None:
    text = f"before {run}; after"
    parts = list(cut_parts([text]))
    assert "".join(parts) == text
    words = [
        word
        for part in parts
        for word, _ in pre_tokenizers.Split(Regex(GPT4), "isolated").pre_tokenize_str(part)
    ]
    assert max(map(len, words)) <= LONGEST_RUN + 1


def test_a_run_of_a_thousand_characters_is_left_alone() -> None:
    text = f"a {'x' * LONGEST_RUN} b {' ' * (LONGEST_RUN - 1)}c"
    assert list(cut_parts([text])) == [text]
