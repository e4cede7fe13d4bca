"""Classes of one character, against what Unicode and plain lists say of some."""

import re
from unicodedata import category

from llmkit.text.english.characters import (
    CURRENCY,
    DOT_LEFT,
    DOT_RIGHT,
    FIRST,
    LAST,
    SIGNS,
    STOPPABLE,
    UPPER,
)


def matching(pattern: str, characters: str) -> str:
    return "".join(one for one in characters if re.fullmatch(pattern, one))


def test_signs_are_pictures_and_no_letters_digits_or_spaces() -> None:
    signs = [chr(code) for code in range(0x110000) if re.fullmatch(f"[{SIGNS}]", chr(code))]
    assert [one for one in signs if one.isalpha() or one.isdecimal() or one.isspace() or one < "\x80"] == []
    assert sum(category(one) == "So" for one in signs) > 0.6 * sum(
        category(chr(code)) == "So" for code in range(0x110000)
    )


def test_marks_come_off_the_front_and_the_back() -> None:
    assert matching(FIRST, "a(“$§-—.+'1") == "(“$§—'"
    assert matching(LAST, "a)”$§-—.+'1") == ")”—'"


def test_money_is_written_with_these() -> None:
    assert matching(CURRENCY, "$€£¥₿₹¢%") == "$€£¥₿₹"


def test_a_stop_is_split_off_behind_small_letters_digits_and_marks_but_no_capital() -> None:
    assert matching(STOPPABLE, "aé1_%)中AÉЯ$ ") == "aé1_%)中"


def test_capitals_and_small_letters_are_those_of_latin_and_cyrillic() -> None:
    assert matching(f"[{UPPER}]", "AzÀ×ÞЁЯяΩ") == "AÀÞЁЯ"
    assert matching(DOT_LEFT, "azß÷яЯ'") == "azßя'"
    assert matching(DOT_RIGHT, "AzÀЁЯ”") == "AÀЯ”"
