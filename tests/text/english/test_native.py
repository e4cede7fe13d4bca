"""The rules for the native library: what it is told of characters, and that it goes by it."""

import re
from pathlib import Path

import pytest

from llmkit.kernels.library import available
from llmkit.text.english import characters as rules
from llmkit.text.english.native import class_of, learn_characters, split_rules
from llmkit.text.english.words import split_chunk
from llmkit.text.native_words import NativeWordTable
from llmkit.text.word_table import STOP_WORDS

pytestmark = pytest.mark.skipif(not available(), reason="the native library is not built")
SOURCE = Path(rules.__file__).parents[2] / "kernels/native/split.cpp"


def test_bits_are_numbered_as_the_source_numbers_them() -> None:
    bits = {name: int(place) for name, place in re.findall(r"k(\w+) = 1 << (\d+)", SOURCE.read_text())}
    of_a, of_stop, of_dollar = class_of("a"), class_of("."), class_of("$")
    assert of_a == sum(
        1 << bits[one]
        for one in ("Stoppable", "DotLeft", "Letter", "LetterOrDigit", "Alphabetic", "Domain", "Known")
    )
    assert of_stop == sum(1 << bits[one] for one in ("Symbol", "Terminal", "Punctuation", "Known"))
    assert of_dollar == sum(1 << bits[one] for one in ("First", "Symbol", "Currency", "Known"))
    assert (
        class_of("Z") & (1 << bits["Upper"] | 1 << bits["DotRight"])
        == 1 << bits["Upper"] | 1 << bits["DotRight"]
    )
    assert class_of("☃") & (1 << bits["Sign"] | 1 << bits["Last"]) == 1 << bits["Sign"] | 1 << bits["Last"]


def test_characters_are_known_with_their_neighbours_once_they_were_met() -> None:
    learn_characters("ꙮ")
    classes = split_rules().classes
    assert classes[ord("ꙮ")] == class_of("ꙮ")
    assert classes[0xA600] == class_of("\ua600")


def test_stop_words_are_told_apart_by_the_place_they_have() -> None:
    words = NativeWordTable().words(" ".join(STOP_WORDS))
    assert [int(facts) & 0xFF for facts in words.facts] == [1 << place for place in range(len(STOP_WORDS))]


@pytest.mark.parametrize("unit", [*rules.UNITS, *rules.LONG_CURRENCIES, "€"])
def test_every_unit_comes_off_a_number(unit: str) -> None:
    assert split_chunk(f"5{unit}") == ["5", unit]
    assert NativeWordTable().words(f"5{unit}").lengths.tolist() == [1, len(unit)]
