"""Markers around documents: put where they are missing, learnt as the token beside them is."""

import numpy as np
import pytest

from llmkit.errors import ConfigError, UsageError
from llmkit.formats.token_documents import TokenDocument
from llmkit.tokens.boundary import Markers, markers_of
from llmkit.tokens.load import load_tokenizer

BOS, EOS = 1, 2


def document(*tokens: int, mask: list[tuple[int, int]] | None = None) -> TokenDocument:
    return TokenDocument("d", np.array(tokens, np.uint32), mask)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ((5, 6), [BOS, 5, 6, EOS]),
        ((BOS, 5), [BOS, 5, EOS]),  # no double bos
        ((5, EOS), [BOS, 5, EOS]),
        ((BOS, 5, EOS), [BOS, 5, EOS]),
        ((EOS,), [BOS, EOS]),
        ((), []),  # nothing is no document
    ],
)
def test_a_marker_is_put_only_where_it_is_not_there_already(
    tokens: tuple[int, ...], expected: list[int]
) -> None:
    ids, runs = Markers(BOS, EOS).around(document(*tokens))
    assert ids.tolist() == expected and ids.dtype == np.uint32 and len(runs) == 0


def test_markers_that_are_one_id_stand_at_both_ends() -> None:
    assert Markers(7, 7).around(document(5))[0].tolist() == [7, 5, 7]


@pytest.mark.parametrize(
    ("mask", "learnt"),
    [  # of bos 10 11 12 13 eos
        ([(0, 4)], "111111"),
        ([(2, 2)], "000111"),
        ([(0, 1)], "110000"),
        ([(1, 2)], "001100"),
        ([(0, 1), (3, 1)], "110011"),
        ([], "000000"),
        ([(3, 1), (0, 1)], "110011"),  # in any order
        ([(0, 3), (1, 3)], "111111"),  # overlapping
        ([(1, 0)], "000000"),
    ],
)
def test_a_marker_is_learnt_as_the_token_beside_it(mask: list[tuple[int, int]], learnt: str) -> None:
    ids, runs = Markers(BOS, EOS).around(document(10, 11, 12, 13, mask=mask))
    drawn = np.ones(len(ids), int)
    for start, length in runs:
        assert length > 0
        drawn[start : start + length] = 0
    assert "".join(map(str, drawn)) == learnt


def test_auto_takes_what_the_tokenizer_has(byte_level_dir, shared_data) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    assert markers_of("auto", tokenizer) == Markers(tokenizer.bos_id, tokenizer.eos_id) != Markers()
    assert markers_of("auto", None) == markers_of("none", tokenizer) == Markers()
    assert markers_of("bos", tokenizer) == Markers(bos=tokenizer.bos_id)
    assert [markers_of(name, tokenizer).name for name in ("none", "bos", "eos", "both", "auto")] == [
        *("none", "bos", "eos", "both", "both")
    ]
    plain = load_tokenizer(shared_data / "tokenizers" / "qwen2")  # has no bos
    assert markers_of("auto", plain).name == "eos"
    with pytest.raises(ConfigError, match="no bos token"):
        markers_of("both", plain)


def test_a_marker_without_a_tokenizer_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="--boundary eos needs a tokenizer"):
        markers_of("eos", None)
