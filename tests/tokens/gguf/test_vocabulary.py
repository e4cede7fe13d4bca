"""A tokenizer's GGUF keys are checked one by one, and absent ones have llama.cpp's defaults."""

from typing import Any

import pytest

from llmkit.errors import ConfigError, DataError
from llmkit.tokens.gguf.vocabulary import listed_merges, parse_vocabulary


def _keys(**changed: Any) -> dict[str, Any]:
    keys = {"model": "llama", "tokens": ["<unk>", "<s>", "</s>", "a"], "scores": [0.0, 0.0, 0.0, -1.0]}
    return {f"tokenizer.ggml.{key}": value for key, value in (keys | changed).items() if value is not None}


def test_sentencepiece_defaults_are_llama_cpps() -> None:
    vocabulary = parse_vocabulary(_keys(), "a.gguf")
    assert vocabulary.ids == {"bos": 1, "eos": 2, "unk": 0}
    assert (vocabulary.add_bos, vocabulary.add_eos, vocabulary.add_space_prefix) == (True, False, True)
    assert vocabulary.kinds == [1, 1, 1, 1]


def test_unigram_defaults_are_llama_cpps() -> None:
    vocabulary = parse_vocabulary(_keys(model="t5", precompiled_charsmap=[1, -1, 255]), "a.gguf")
    assert vocabulary.ids == {"eos": 1, "unk": 2}
    assert (vocabulary.add_bos, vocabulary.add_eos, vocabulary.add_space_prefix) == (False, True, False)
    assert vocabulary.character_map == b"\x01\xff\xff"


def test_an_id_outside_of_the_vocabulary_has_no_default() -> None:
    assert parse_vocabulary(_keys(tokens=["a"], scores=[0.0]), "a.gguf").ids == {"unk": 0}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": None}, "tokenizer.ggml.model is missing"),
        ({"tokens": None}, "tokenizer.ggml.tokens is missing"),
        ({"tokens": [1, 2]}, "tokenizer.ggml.tokens is not a list of texts"),
        ({"tokens": ["a", "b", "\udcff", "c"]}, "tokenizer.ggml.tokens is not UTF-8 at 2"),
        ({"scores": None}, "tokenizer.ggml.scores is missing"),
        ({"scores": [0.0]}, "tokenizer.ggml.scores has 1 values for 4 tokens"),
        ({"token_type": ["a"] * 4}, "tokenizer.ggml.token_type is not a list of numbers"),
        ({"bos_token_id": 4}, r"tokenizer.ggml.bos_token_id is no id of 4 tokens \(found 4\)"),
        ({"add_bos_token": 1}, "tokenizer.ggml.add_bos_token is neither true nor false"),
        ({"model": "gpt2"}, "tokenizer.ggml.pre is missing"),
        ({"model": "gpt2", "pre": "gpt-2"}, "tokenizer.ggml.merges is missing"),
        (
            {"model": "gpt2", "pre": "gpt-2", "merges": ["ab"]},
            "tokenizer.ggml.merges is not two pieces in 'ab'",
        ),
    ],
)
def test_what_is_wrong_is_told_by_its_key(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"a.gguf: {message}"):
        parse_vocabulary(_keys(**changed), "a.gguf")


def test_a_kind_that_is_not_read_is_named() -> None:
    with pytest.raises(ConfigError, match=r"tokenizer.ggml.model is 'bert'"):
        parse_vocabulary(_keys(model="bert"), "a.gguf")


def test_an_end_of_a_turn_is_a_control_token_by_its_looks() -> None:
    vocabulary = parse_vocabulary(_keys(tokens=["<unk>", "<s>", "</s>", "<|im_end|>"]), "a.gguf")
    assert vocabulary.kinds == [1, 1, 1, 3]


def test_merges_are_read_in_both_spellings() -> None:
    assert listed_merges({"merges": ["a b", ["c", "d"]]}) == [("a", "b"), ("c", "d")]
