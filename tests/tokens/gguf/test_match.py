"""The name of a cut is found where the expressions are equal, and only then."""

import json
from typing import Any

import pytest
import tokenizers
from tokenizers import Regex, pre_tokenizers
from tokenizers.models import BPE

from llmkit.errors import ConfigError
from llmkit.tokens.gguf.match import NEVER_WRITTEN, SAMPLES, cut_patterns, pre_tokenizer_name
from llmkit.tokens.gguf.patterns import BAILING, PRE_TOKENIZERS, byte_level_cut
from llmkit.tokens.gguf.vocabulary import KEEP_FOLDER
from llmkit.tokens.patterns import GPT2, GPT4, QWEN2


def _name(cut: Any, *, composes: bool = False, **model: Any) -> str:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: index for index, piece in enumerate((*alphabet, *model.pop("pieces", ())))}
    backend = tokenizers.Tokenizer(BPE(vocabulary, model.pop("merges", []), **model))
    backend.pre_tokenizer = cut
    return pre_tokenizer_name(backend, json.loads(backend.to_str()), composes=composes)


def _split(pattern: str, behaviour: str = "isolated", invert: bool = False) -> Any:
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behaviour, invert), bytes_only])


@pytest.mark.parametrize("name", [name for name in PRE_TOKENIZERS if name not in NEVER_WRITTEN])
def test_every_name_is_found_again_or_one_that_does_the_same(name: str) -> None:
    pre = PRE_TOKENIZERS[name]
    found = _name(byte_level_cut(pre.patterns), composes=pre.composes, ignore_merges=pre.ignore_merges)
    assert PRE_TOKENIZERS[found].patterns == pre.patterns
    assert PRE_TOKENIZERS[found].composes == pre.composes


def test_published_spellings_are_known() -> None:
    assert _name(pre_tokenizers.ByteLevel(add_prefix_space=False)) == "gpt-2"
    assert _name(_split(GPT2)) == "gpt-2"
    assert _name(_split(GPT4)) == "llama-bpe"
    assert _name(_split(GPT4, "removed", invert=True)) == "llama-bpe"
    assert _name(_split(QWEN2), composes=True) == "qwen2"
    assert _name(_split(QWEN2)) == "deepseek-r1-qwen"
    digits = pre_tokenizers.Digits(individual_digits=True)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert _name(pre_tokenizers.Sequence([digits, words])) == "smollm"
    assert _name(pre_tokenizers.Sequence([digits, words]), composes=True) == "command-r"
    cases = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
    assert _name(_split(cases + QWEN2.removeprefix(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"))) == "deepseek-r1-qwen"


def test_an_expression_that_loses_text_is_not_taken_for_one_that_keeps_it() -> None:
    with pytest.raises(ConfigError, match=r"no way of cutting text"):
        _name(_split(r"\p{N}", "removed"))
    holes = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\p{N}"), "removed", True), _split(GPT2)])
    with pytest.raises(ConfigError, match=r"no way of cutting text"):
        _name(holes)


def test_a_piece_that_no_merge_makes_tells_whether_words_are_looked_up_first() -> None:
    merges = {"pieces": ["he"], "merges": [("h", "e")]}
    assert _name(_split(GPT4), **merges) == "llama-bpe"
    assert _name(_split(GPT4), pieces=["he"]) == "smaug-bpe"
    assert _name(_split(GPT4), pieces=["he"], ignore_merges=True) == "llama-bpe"
    with pytest.raises(ConfigError, match=r"llama.cpp's deepseek-r1-qwen|llama.cpp's qwen2"):
        _name(_split(QWEN2), pieces=["he"], ignore_merges=True)


def test_the_nearest_name_is_told_with_what_can_be_done() -> None:
    with pytest.raises(ConfigError, match=f"gpt-2 comes closest, and cuts {len(SAMPLES)} of") as caught:
        _name(_split(GPT2 + "|x"))
    assert caught.value.hint == KEEP_FOLDER


def test_the_samples_tell_all_cuts_apart() -> None:
    # but for Bailing's, which is Qwen 2's: `\s*[\r\n]` takes as much as `\s*[\r\n]+`
    cuts = {pre.patterns for pre in PRE_TOKENIZERS.values()} - {(BAILING,)}
    found = {str([byte_level_cut(cut).pre_tokenize_str(text) for text in SAMPLES]) for cut in cuts}
    assert len(found) == len(cuts)


def test_a_word_list_is_no_cut_of_llama_cpps() -> None:
    with pytest.raises(ConfigError, match=r"step .*Whitespace"):
        cut_patterns({"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}]})
