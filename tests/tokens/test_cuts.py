"""Cutting a text never changes its ids."""

import random
import sys
import unicodedata
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers

from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.tokens.cuts import ANY_SYMBOL, ONLY_BLANKS, PROVEN_PATTERNS, Places, cut, safe_places
from llmkit.tokens.train import train_tokenizer

LETTERS = "ab Zé日 \n\r\t'sdmlLvre.!12ⅷ²\u0301\u00a0ー_-ßᏀ\u200d<|>🙂"


@pytest.fixture
def backend(byte_level_dir: Path) -> Tokenizer:
    return Tokenizer.from_file(str(byte_level_dir / "tokenizer.json"))


def with_pattern(backend: Tokenizer, pattern: str) -> Tokenizer:
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    return backend


@pytest.fixture(params=[ANY_SYMBOL, ONLY_BLANKS], ids=["any symbol", "only blanks"])
def places(request: pytest.FixtureRequest) -> Places:
    found: Places = request.param
    return found


@pytest.mark.parametrize("pattern", sorted(PROVEN_PATTERNS))
@pytest.mark.parametrize("nfc", [False, True])
def test_parts_of_random_texts_have_the_ids_of_the_whole(
    backend: Tokenizer, places: Places, pattern: str, nfc: bool
) -> None:
    backend = with_pattern(backend, pattern)
    if nfc:
        backend.normalizer = normalizers.NFC()
    assert safe_places(backend)
    chance = random.Random(0)
    cuts = 0
    for _ in range(1500):
        text = "".join(chance.choice(LETTERS) for _ in range(chance.randrange(1, 60)))
        parts = list(cut(text, chance.randrange(8), places))
        assert "".join(parts) == text
        cuts += len(parts) - 1
        ids = [token for part in parts for token in backend.encode(part).ids]
        assert ids == backend.encode(text).ids, (text, parts)
    assert cuts > 500


def test_a_unigram_tokenizer_of_llmkits_own_making_is_cut_too() -> None:
    text = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
    config = TrainTokenizerConfig(type="unigram", vocab_size=700)
    backend = train_tokenizer(iter([text]), config).tokenizer.backend
    places = safe_places(backend)
    assert places is not None
    parts = list(cut(text, 100, places))
    ids = [token for part in parts for token in backend.encode(part, add_special_tokens=False).ids]
    assert ids == backend.encode(text, add_special_tokens=False).ids


def test_a_book_in_pieces_has_the_ids_of_the_whole(backend: Tokenizer, places: Places) -> None:
    text = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
    parts = list(cut(text, 100, places))
    assert len(parts) > 50
    assert max(map(len, parts)) < 200
    assert [token for part in parts for token in backend.encode(part).ids] == backend.encode(text).ids


def test_a_text_without_a_safe_place_stays_whole(places: Places) -> None:
    assert list(cut("." * 1000, 10, places)) == ["." * 1000]


def test_units_are_what_stands_between_safe_places(places: Places) -> None:
    chance = random.Random(1)
    for _ in range(3000):
        text = "".join(chance.choice(LETTERS) for _ in range(chance.randrange(1, 60)))
        assert places.unit.findall(text) == places.place.split(text)


@pytest.mark.parametrize("pattern", sorted(PROVEN_PATTERNS))
def test_the_library_cuts_after_every_character_of_unicode_where_llmkit_does(
    pattern: str,
) -> None:
    splitter = pre_tokenizers.Split(Regex(pattern), "isolated")
    assigned = [chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code))[0] not in "C"]
    for symbol in (" ", ".", "\n", "_"):
        characters = assigned if symbol == " " else assigned[:2000]  # letters that count are all in front
        text = "".join(f"{character}{symbol}x" for character in characters)
        ends = {end for _, (_, end) in splitter.pre_tokenize_str(text)}
        places = {match.start() for match in ANY_SYMBOL.place.finditer(text)}
        assert len(places) > 300
        assert places <= ends


def test_a_tokenizer_whose_added_token_has_a_symbol_in_it_is_cut_at_blanks(backend: Tokenizer) -> None:
    assert safe_places(backend) is ONLY_BLANKS  # <|endoftext|>
    backend.encode_special_tokens = True
    assert safe_places(backend) is ANY_SYMBOL
    backend.add_tokens([AddedToken("<think>")])
    assert safe_places(backend) is ONLY_BLANKS


@pytest.mark.parametrize(
    "change",
    [
        lambda backend: setattr(backend, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True)),
        lambda backend: setattr(backend, "pre_tokenizer", pre_tokenizers.Metaspace()),
        lambda backend: setattr(backend, "normalizer", normalizers.Lowercase()),
        lambda backend: backend.add_tokens([AddedToken("a b")]),
        lambda backend: backend.add_tokens([AddedToken("<x>", single_word=True)]),
        lambda backend: backend.add_tokens([AddedToken("<x>", rstrip=True)]),
        lambda backend: backend.enable_truncation(10),
    ],
)
def test_a_tokenizer_that_could_tell_is_not_cut(backend: Tokenizer, change) -> None:  # type: ignore[no-untyped-def]
    assert safe_places(backend)
    change(backend)
    assert safe_places(backend) is None
