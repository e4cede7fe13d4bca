"""The cuts of published models: as tiktoken, transformers and the regex library make them."""

import json
import random
from pathlib import Path

import pytest
import regex
from tokenizers import Tokenizer, normalizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from llmkit.tokens.patterns import GPT2, GPT4, QWEN2, byte_level, pre_tokenizer, special_token
from llmkit.tokens.tiktoken import read_tiktoken

ALPHABET = [
    *"aZé'sStlLdDrRvVeEmM09² \t\n\r",
    "ſ",
    "日",
    "本",
    "🤖",
    "़",
    "_",
    ".",
    "?!",
    "\N{NO-BREAK SPACE}",
    "  ",
]


def _texts() -> list[str]:
    """What the patterns differ in, by chance: apostrophes, numbers, line ends and spaces side by side."""
    chance = random.Random(0)
    return ["".join(chance.choices(ALPHABET, k=chance.randrange(1, 24))) for _ in range(3000)]


def _cut(pattern: str, text: str) -> list[str]:
    return [text[start:end] for _, (start, end) in pre_tokenizer(pattern).pre_tokenize_str(text)]


def _published(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The expression as tiktoken has it now; its tables of ranks are left where they are."""
    import tiktoken_ext.openai_public as encodings

    for loader in ("load_tiktoken_bpe", "data_gym_to_mergeable_bpe_ranks"):
        monkeypatch.setattr(encodings, loader, lambda *_, **__: {})
    return str(getattr(encodings, name)()["pat_str"])


@pytest.mark.parametrize(
    ("name", "pattern"), [("gpt2", GPT2), ("r50k_base", GPT2), ("p50k_base", GPT2), ("cl100k_base", GPT4)]
)
def test_text_is_cut_as_tiktokens_own_expression_cuts_it(
    name: str, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = regex.compile(_published(name, monkeypatch))
    for text in _texts():
        if pattern == GPT4 and regex.search(r"[\r\n]\s*[^\S\r\n]+\Z", text):
            continue  # tiktoken now keeps white space at the end whole: to the same ids, see below
        assert _cut(pattern, text) == theirs.findall(text), text


@pytest.mark.parametrize("name", ["r50k_base", "cl100k_base"])
def test_ids_are_tiktokens_wherever_line_ends_and_spaces_meet(
    name: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe

    path = shared_data / "tokenizers" / "tiktoken" / f"{name}.tiktoken"
    pattern, ranks = _published(name, monkeypatch), load_tiktoken_bpe(str(path))
    theirs = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    ours = read_tiktoken(path.read_bytes(), path.name)
    for text in [*_texts(), "x = 1\n    ", "a\r\n \n  ", "\n \t"]:
        assert ours.encode(text).ids == theirs.encode_ordinary(text), text


def test_qwen2_is_what_transformers_cuts_by() -> None:
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    assert QWEN2 == PRETOKENIZE_REGEX
    theirs = regex.compile(PRETOKENIZE_REGEX)
    for text in _texts():
        assert _cut(QWEN2, text) == theirs.findall(text), text


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (GPT2, ["DON", "'", "T", " pay", " 12345", " (", "ok", ")", "\n", "\n", "x"]),
        (GPT4, ["DON", "'T", " pay", " ", "123", "45", " (", "ok", ")\n\n", "x"]),
        (QWEN2, ["DON", "'T", " pay", " ", "1", "2", "3", "4", "5", " (", "ok", ")\n\n", "x"]),
    ],
    ids=["gpt2", "gpt4", "qwen2"],
)
def test_the_three_differ_in_capitals_digits_and_line_ends(pattern: str, expected: list[str]) -> None:
    assert _cut(pattern, "DON'T pay 12345 (ok)\n\nx") == expected


def _model() -> BPE:
    """Bytes in the spelling of byte-level tokenizers, and the merges `a b`, `Ġ a` and `b Ġ`."""
    pieces = [*sorted(ByteLevel.alphabet()), "ab", "Ġa", "bĠ", "<x>"]
    merges = [("b", "Ġ"), ("a", "b"), ("Ġ", "a")]
    return BPE(vocab={piece: number for number, piece in enumerate(pieces)}, merges=merges)


@pytest.mark.parametrize("pattern", [GPT2, GPT4, QWEN2], ids=["gpt2", "gpt4", "qwen2"])
def test_no_merge_crosses_a_cut_and_every_byte_comes_back(pattern: str) -> None:
    backend = byte_level(_model(), pattern)
    assert backend.encode("ab a").tokens == ["ab", "Ġa"]  # b and the space would have merged first
    text = "  Grüße, 日本語 \x00🤖\r\n\x7f end"
    assert backend.decode(backend.encode(text).ids) == text


@pytest.mark.parametrize("pattern", [GPT2, GPT4, QWEN2], ids=["gpt2", "gpt4", "qwen2"])
def test_a_saved_tokenizer_cuts_as_before(pattern: str) -> None:
    backend = byte_level(_model(), pattern)
    again = Tokenizer.from_str(backend.to_str())
    for text in _texts()[:200]:
        assert again.encode(text).offsets == backend.encode(text).offsets


def test_gpt2s_cut_is_written_as_the_form_that_every_reader_knows() -> None:
    form = json.loads(byte_level(_model(), GPT2).to_str())["pre_tokenizer"]
    assert (form["type"], form["use_regex"], form["add_prefix_space"]) == ("ByteLevel", True, False)


def test_a_special_token_is_found_as_written_before_the_text_is_normalised_or_cut() -> None:
    backend = byte_level(_model(), GPT2)
    backend.normalizer = normalizers.Lowercase()
    backend.add_special_tokens([special_token("<X>")])
    number = backend.token_to_id("<X>")
    assert backend.encode("A<X>B", add_special_tokens=False).tokens == ["a", "<X>", "b"]
    assert number not in backend.encode("A<x>B", add_special_tokens=False).ids
    assert backend.get_added_tokens_decoder()[number].special
