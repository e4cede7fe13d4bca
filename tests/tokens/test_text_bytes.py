"""The bytes of a text behind its tokens: all of them, and no space that a tokenizer added."""

from pathlib import Path

import pytest

from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.text_bytes import bytes_in_text

TEXTS = ["cat", " cat", "  two  spaces ", "\n\nnew", "Ünï 日本 😀 x", "e\u0301 x\nHello", "<s> and </s> x"]
FOLDERS = ["models/stories260K", *(f"tokenizers/{name}" for name in ("gpt2", "llama2", "qwen2", "t5-small"))]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_byte_of_a_text_is_behind_one_token(shared_data: Path, folder: str) -> None:
    tokenizer = load_tokenizer(shared_data / folder)
    for text in TEXTS:
        found = bytes_in_text(tokenizer, text, PromptEncoder(tokenizer).encode(text))
        assert sum(found) == len(text.encode()) and min(found) >= 0


def test_the_space_that_is_put_before_a_text_is_none_of_its_bytes(shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers" / "llama2")
    ids = PromptEncoder(tokenizer).encode("cat sat")
    assert bytes_in_text(tokenizer, "cat sat", ids) == [0, 3, 4]
    assert tokenizer.byte_lengths[ids].tolist() == [0, 4, 4]
    assert bytes_in_text(tokenizer, " cat", PromptEncoder(tokenizer).encode(" cat"))[0] == 0


def test_special_tokens_of_a_conversation_stand_for_no_bytes_and_what_follows_them_for_its_own(
    shared_data: Path,
) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers" / "llama2")
    text = "<s>cat</s><s>dog"
    found = bytes_in_text(tokenizer, text, PromptEncoder(tokenizer).encode_rendered(text), rendered=True)
    assert sum(found) == len("catdog")
    assert [one for one in found if not one] == [0, 0, 0]
