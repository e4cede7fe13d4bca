"""Garbage words: Taghva's rules, one word for each."""

import pytest

from llmkit.text.ocr_words import is_garbage, mixes_scripts


@pytest.mark.parametrize(
    "chunk",
    ["x" * 41, "a;.,%b~|^c", "aaaa", "wnnnnt", "bcdfghk", "aeiouae", "a*b;c|d", "tHeRe'LbLa", "pаssword"],
)
def test_noise_is_garbage(chunk: str) -> None:
    assert is_garbage(chunk)


@pytest.mark.parametrize(
    "chunk",
    [
        *(
            "the",
            "(world!)",
            "don't",
            "well-known",
            "1,234.50",
            "12th",
            "O'Brien",
            "U.S.A.",
            "-----",
            ".....",
        ),
        *(
            "https://example.com/aaaa/b?c=d",
            "name@example.org",
            "src/text/ocr.py",
            "Über",
            "naïve",
            "rhythms",
        ),
        *("McDonald", "queueing", "I", "o'", "BBC", "XXXX-rays"),
    ],
)
def test_what_was_printed_is_not(chunk: str) -> None:
    assert is_garbage(chunk) == (chunk == "XXXX-rays")


def test_only_letters_of_scripts_that_look_alike_count_as_mixed() -> None:
    assert mixes_scripts("pаss")  # the second letter is Cyrillic
    assert not mixes_scripts("pass") and not mixes_scripts("пас") and not mixes_scripts("日本x")
