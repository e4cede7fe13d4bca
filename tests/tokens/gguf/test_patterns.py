"""The cuts by name, on text cut by hand; that llama.cpp makes them too is tested with what is written."""

import pytest

from llmkit.tokens.gguf.patterns import PRE_TOKENIZERS, byte_level_cut


def _words(name: str, text: str) -> list[str]:
    cut = byte_level_cut(PRE_TOKENIZERS[name].patterns)
    return [text[start:end] for _, (start, end) in cut.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt-2", ["It", "'s", " 12345", " DON", "'", "T", " camelCase", "!?", "\n\n"]),
        ("llama-bpe", ["It", "'s", " ", "123", "45", " DON", "'T", " camelCase", "!?\n\n"]),
        ("qwen2", ["It", "'s", " ", "1", "2", "3", "4", "5", " DON", "'T", " camelCase", "!?\n\n"]),
        (
            "smollm",
            ["It", "'s", " ", "1", "2", "3", "4", "5", " DON", "'", "T", " camelCase", "!?", "\n\n"],
        ),
        ("gpt-4o", ["It's", " ", "123", "45", " DON'T", " camel", "Case", "!?\n\n"]),
        ("deepseek-v3", ["It", "'s", " ", "123", "45", " DON", "'T", " camelCase", "!?\n\n"]),
        ("deepseek-llm", ["It", "'", "s", " ", "12345", " DON", "'", "T", " camelCase", "!?", "\n", "\n"]),
    ],
)
def test_a_text_is_cut_as_by_hand(name: str, words: list[str]) -> None:
    assert _words(name, "It's 12345 DON'T camelCase!?\n\n") == words


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_a_cut_loses_nothing(name: str) -> None:
    text = "x  y\t\r\n 12 ü日本語한국 e\u0301 🤖 !?/\n  "
    assert "".join(_words(name, text)) == text


def test_marks_stay_with_their_letters_in_qwen_35_only() -> None:
    assert _words("qwen35", "xe\u0301x") == ["xe\u0301x"]
    assert len(_words("qwen2", "xe\u0301x")) > 1
