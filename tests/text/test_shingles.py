"""Shingles against the same thing done with Python strings."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.text import shingles
from llmkit.text.shingles import batches, mix, shingle, shingle_set
from tests.text.duplicates import plain_shingles, plain_words, random_text

TEXTS = [
    *(
        "",
        "   \n",
        "one",
        "one two three four",
        "one two three four five",
        "One, TWO; three\tfour - five! six",
    ),
    *(
        "Straße café naïve Ünïcödé zwölf",
        "cafe\u0301 CAFÉ cafe",
        "東京は日本の首都です。人口は一千万",
        "a_b c1 2d __ 3.14",
    ),
    *("ภาษาไทย ไม่มี", "हिन्दी में मात्राएँ हैं यहाँ", "don't can’t “quoted” em—dash", "x" * 700),
]


def test_shingles_are_equal_where_their_words_are_and_only_there() -> None:
    rng = random.Random(1)
    texts = [*TEXTS, *(random_text(rng, rng.randrange(40)) for _ in range(50))]
    found = shingle(texts)
    names: dict[int, tuple[str, ...]] = {}
    for number, text in enumerate(texts):
        words = plain_words(text)
        own = found.hashes[found.offsets[number] : found.offsets[number + 1]].tolist()
        count = max(1, len(words) - 4) if words else 0
        assert len(own) == count, text
        for place, one in enumerate(own):
            name = tuple(words[place : place + 5])
            assert names.setdefault(one, name) == name
    assert len(set(names.values())) == len(names)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab é\u0301東京ก,.\n_9", max_size=30), max_size=6), st.integers(1, 4))
def test_any_texts_have_as_many_shingles_together_as_alone(texts: list[str], ngram: int) -> None:
    together = shingle(texts, ngram=ngram)
    for number, text in enumerate(texts):
        own = together.hashes[together.offsets[number] : together.offsets[number + 1]]
        assert own.tolist() == shingle([text], ngram=ngram).hashes.tolist()
        assert len(set(own.tolist())) == len(plain_shingles(text, ngram))


def test_a_text_longer_than_a_batch_is_cut_at_no_place_that_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(2)
    text = random_text(rng, 3000) + " " + "z" * 5000 + " " + "東" * 3000 + random_text(rng, 500)
    whole = shingle([text, "another text of some six words"])
    monkeypatch.setattr(shingles, "BATCH_CHARACTERS", 1000)
    assert np.array_equal(shingle([text, "another text of some six words"]).hashes, whole.hashes)


def test_case_accents_spaces_and_punctuation_do_not_count_but_digits_do() -> None:
    texts = ["Le café de l'Opéra, 12 rue X", "LE  CAFE\u0301\nde l opera -- 12 Rue x!"]
    one, same, other = (shingle([text]).hashes for text in (*texts, "Le café de l'Opéra, 13 rue X"))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_characters_leave_out_what_stands_between_words() -> None:
    one = shingle(["ab, cd EF"], ngram=3, unit="char").hashes
    assert np.array_equal(one, shingle(["abcdef"], ngram=3, unit="char").hashes) and len(one) == 4
    assert not np.array_equal(one, shingle(["abcdeg"], ngram=3, unit="char").hashes)


def test_short_texts_are_one_shingle_of_all_their_words() -> None:
    found = shingle(["one two", "two one", "one two", "one", ""], ngram=5)
    assert found.offsets.tolist() == [0, 1, 2, 3, 4, 4]
    first, second, third, fourth = found.hashes.tolist()
    assert first == third and len({first, second, fourth}) == 3


def test_a_set_has_each_shingle_once_in_order() -> None:
    hashes = shingle(["a b c a b c a b c"], ngram=3).hashes
    found = shingle_set(hashes)
    assert len(found) == 3 and np.all(np.diff(found.astype(np.int64)) > 0)


def test_mixing_is_murmurs_finaliser() -> None:
    def plain(number: int) -> int:
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            number ^= number >> 33
            number = number * factor % 2**64
        return number ^ number >> 33

    numbers = [0, 1, 2**63, 2**64 - 1, 12345678901234567]
    assert mix(np.array(numbers, np.uint64)).tolist() == [plain(number) for number in numbers]


def test_batches_hold_neighbours_up_to_a_size_and_all_of_them() -> None:
    parts = list(batches([5, 5, 20, 1, 1], most=10))
    assert [(part.start, part.stop) for part in parts] == [(0, 2), (2, 3), (3, 5)]
    assert list(batches([], most=10)) == []
