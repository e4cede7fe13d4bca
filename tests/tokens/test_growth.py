"""How many different words more text would have, against texts whose growth is known."""

import random
from pathlib import Path

import pytest

from llmkit.tokens.growth import Growth, measure_growth

LICENSE = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")


def test_text_of_new_words_only_grows_with_its_length() -> None:
    texts = [f" word{'abcdefghij'[n % 10]}{chr(0x3041 + n // 10)}" for n in range(800)]
    growth = measure_growth(texts, len)
    assert growth.power == pytest.approx(1, abs=0.01)
    assert growth.symbols == sum(map(len, texts))
    assert growth.symbols_of(2 * growth.text_bytes) == pytest.approx(2 * growth.symbols, rel=0.01)


def test_text_that_repeats_itself_does_not_grow() -> None:
    growth = measure_growth([" the same words again"] * 50, len)
    assert growth.symbols == len(" the same words again")
    assert growth.symbols_of(10**9) == growth.symbols


def test_length_is_in_the_unit_asked_for() -> None:
    assert measure_growth(["äöü"], len).symbols == 3
    assert measure_growth(["äöü"], lambda word: len(word.encode())).symbols == 6
    assert measure_growth(["äöü"], len).text_bytes == 6


def test_heaps_law_is_read_off_the_half_and_the_whole() -> None:
    # words drawn by Zipf's law with exponent 1.5: new ones come with the power 1 / 1.5 of the length
    chance = random.Random(0)
    weights = [n**-1.5 for n in range(1, 50_001)]
    names = [" " + "".join(chance.choices("abcdefghijklmnop", k=6)) for _ in weights]
    drawn = chance.choices(names, weights, k=40_000)
    growth = measure_growth([" ".join(drawn[start : start + 100]) for start in range(0, 20_000, 100)], len)
    assert 0.55 < growth.power < 0.75
    truth = measure_growth([" ".join(drawn)], len)
    assert growth.symbols_of(truth.text_bytes) == pytest.approx(truth.symbols, rel=0.1)


def test_no_text_has_no_words() -> None:
    assert measure_growth([], len) == Growth(0, 0, 1.0)
    assert measure_growth([], len).symbols_of(1000) == 0
    assert measure_growth([LICENSE], len).symbols_of(0) == 0
