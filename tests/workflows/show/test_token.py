"""Tokens by the names that people give them."""

from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.show.token import find_token, token_label


def test_a_token_is_found_by_text_by_piece_and_by_id(shared_data: Path) -> None:
    words = load_tokenizer(shared_data / "models" / "stories260K")
    the = find_token(words, "the", 512)
    assert words.token_text(the) == "▁the" and find_token(words, "▁the", 512) == the
    assert find_token(words, f"id:{the}", 512) == the == find_token(None, f"id:{the}", 512)
    assert token_label(words, the) == " the" and token_label(None, the) == f"id:{the}"
    assert token_label(words, 600) == "id:600"
    high_byte = find_token(words, "<0xFF>", 512)
    assert token_label(words, high_byte) == "<0xFF>"  # half a character has no text


def test_what_is_no_token_says_why(shared_data: Path) -> None:
    words = load_tokenizer(shared_data / "models" / "stories260K")
    with pytest.raises(UsageError, match=r"'dog' is 2 tokens \('▁do' 'g'\)"):
        find_token(words, "dog", 512)
    with pytest.raises(UsageError, match="id:512: no such token") as error:
        find_token(words, "id:512", 512)
    assert error.value.hint == "ids are id:0 to id:511"
    with pytest.raises(UsageError, match="no tokenizer"):
        find_token(None, "the", 512)
    with pytest.raises(UsageError, match="beyond the model's 3"):
        find_token(words, "the", 3)
