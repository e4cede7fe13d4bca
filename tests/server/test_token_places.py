"""Tokens are placed in the text as it was sent, whatever the tokenizer made of it."""

from llmkit.server.token_places import TokenPlaces
from llmkit.tokens.tokenizer import Tokenizer


def places(tokenizer: Tokenizer, text: str, ids: list[int]) -> list[int]:
    found = TokenPlaces(text, tokenizer)
    return [found.place(one) for one in ids]


def test_offsets_are_those_that_the_tokenizers_library_gives(tokenizer: Tokenizer) -> None:
    text = "the quick é 😀 fox"
    encoded = tokenizer.backend.encode(text)
    assert places(tokenizer, text, encoded.ids) == [begin for begin, _ in encoded.offsets]


def test_a_special_token_takes_room_only_where_the_text_has_it(tokenizer: Tokenizer) -> None:
    end, (a, b) = tokenizer.id_of("<|end|>"), tokenizer.backend.encode("ab").ids
    assert end is not None
    assert places(tokenizer, "ab", [end, a, end, b]) == [0, 0, 1, 1]
    assert places(tokenizer, "<|end|>ab", [end, a, b]) == [0, 7, 8]
    assert places(tokenizer, "ab<|end|>", [end, a, b, end]) == [0, 0, 1, 2]


def test_an_id_that_no_token_has_takes_no_room(tokenizer: Tokenizer) -> None:
    a, b = tokenizer.backend.encode("ab").ids
    assert places(tokenizer, "ab", [a, tokenizer.vocab_size, b, tokenizer.vocab_size + 9]) == [0, 1, 1, 2]


def test_letters_that_were_read_as_others_put_the_rest_out_of_place_only_for_a_while(
    tokenizer: Tokenizer,
) -> None:
    a, b, c = tokenizer.backend.encode("abc").ids
    assert places(tokenizer, "AbC", [a, b, c]) == [0, 1, 2]
    assert places(tokenizer, "", [a, b]) == [0, 0]
