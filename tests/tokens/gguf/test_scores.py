"""Scores make llama.cpp join pieces in the order of merges, or there are none."""

import random
from itertools import pairwise
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.tokens.gguf.scores import Spacing, piece_scores, read_spacing

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def _state(pieces: list[str], merges: list[tuple[str, str]], **model: Any) -> dict[str, Any]:
    vocabulary = {piece: index for index, piece in enumerate((*BYTES, *pieces))}
    return {
        "model": {"vocab": vocabulary, "merges": merges, "byte_fallback": True, **model},
        "added_tokens": [],
    }


def _join(text: str, scores: dict[str, float]) -> list[str]:
    """llama.cpp's way: the two neighbours whose whole has the best score, of equal ones the first."""
    parts = list(text)
    while True:
        wholes = [(-scores.get(a + b, float("-inf")), at) for at, (a, b) in enumerate(pairwise(parts))]
        if not wholes or min(wholes)[0] == float("inf"):
            return parts
        at = min(wholes)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def test_scores_join_text_as_the_merges_do() -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    pieces = ["a", "b", "c", "ab", "bc", "abc", "abab", "ca"]
    merges = [("a", "b"), ("b", "c"), ("ab", "ab"), ("a", "bc"), ("ab", "c"), ("c", "a")]
    scores = piece_scores(_state(pieces, merges))
    assert [scores[one] for one in ("ab", "bc", "abab", "abc", "ca")] == [0, -1, -2, -3, -4]
    library = Tokenizer(BPE({piece: index for index, piece in enumerate(pieces)}, merges))
    dice = random.Random(0)
    for _ in range(300):
        text = "".join(dice.choices("abc", k=12))
        assert _join(text, scores) == library.encode(text).tokens


def test_a_cut_that_no_merge_lists_is_refused() -> None:
    pieces = ["a", "b", "c", "ab", "bc", "abc"]
    with pytest.raises(ConfigError, match=r"merges do not go by pieces"):
        piece_scores(_state(pieces, [("a", "b"), ("b", "c"), ("a", "bc")]))  # ab + c is missing


def test_merges_of_two_pieces_in_turns_are_refused() -> None:
    pieces = ["a", "b", "ab", "aa", "aab", "bab"]
    listed = [("a", "b"), ("a", "a"), ("aa", "b"), ("b", "ab"), ("a", "ab")]
    with pytest.raises(ConfigError, match=r"merges do not go by pieces"):
        piece_scores(_state(pieces, listed))


def test_bytes_without_tokens_are_refused() -> None:
    state = _state(["a"], [])
    with pytest.raises(ConfigError, match=r"byte_fallback is off"):
        piece_scores(_state(["a"], [], byte_fallback=False))
    del state["model"]["vocab"]["<0x0A>"]
    with pytest.raises(ConfigError, match=r"<0x0A>"):
        piece_scores(state)


def _spaced(normalizer: Any, pre_tokenizer: Any = None, pieces: tuple[str, ...] = ("a",)) -> Spacing:
    model = {"vocab": {piece: index for index, piece in enumerate(pieces)}}
    return read_spacing({"normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "model": model})


REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
PREPEND = {"type": "Prepend", "prepend": "▁"}
SPLIT = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}


def test_spacing_is_read_in_the_spellings_of_llama_gemma_and_mistral() -> None:
    assert _spaced({"type": "Sequence", "normalizers": [PREPEND, REPLACE]}) == Spacing(True)
    assert _spaced(REPLACE, SPLIT) == Spacing(False)
    metaspace = {"type": "Metaspace", "replacement": "▁", "split": False}
    assert _spaced(None, metaspace | {"prepend_scheme": "first"}) == Spacing(True, first_only=True)
    assert _spaced(None, metaspace | {"prepend_scheme": "never"}) == Spacing(False)


def test_words_cut_at_spaces_are_refused_where_a_piece_goes_across() -> None:
    metaspace = {"type": "Metaspace", "replacement": "▁", "split": True, "prepend_scheme": "always"}
    assert _spaced(None, metaspace, ("▁a",)) == Spacing(True)
    with pytest.raises(ConfigError, match=r"a token across them"):
        _spaced(None, metaspace, ("a▁b",))


def test_a_step_that_llama_cpp_has_not_is_told() -> None:
    with pytest.raises(ConfigError, match=r"normalizer has a step .*Lowercase"):
        _spaced({"type": "Lowercase"})
    with pytest.raises(ConfigError, match=r"pre_tokenizer has a step .*Whitespace"):
        _spaced(REPLACE, {"type": "Whitespace"})
    with pytest.raises(ConfigError, match=r"does not write spaces"):
        _spaced(None)
