"""Prompts in every shape that clients send, and scores as columns."""

from typing import Any

import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.server.answer import Answered, Piece, TokenScore, Usage
from llmkit.server.errors import ApiError
from llmkit.server.wire.completions import CompletionRequest, completion_object, read_completion
from llmkit.server.wire.sampling import WireLimits


def read(**given: Any) -> Any:
    return read_completion(CompletionRequest(**given), SamplingConfig(), WireLimits())


@pytest.mark.parametrize(
    ("prompt", "texts", "ids"),
    [
        ("a", ("a",), ()),
        (["a", "b"], ("a", "b"), ()),
        ([1, 2], (), ((1, 2),)),
        ([[1], [2, 3]], (), ((1,), (2, 3))),
        ([1.0, 2], (), ((1, 2),)),
    ],
)
def test_a_prompt_is_text_ids_or_several_of_one_kind(prompt: Any, texts: Any, ids: Any) -> None:
    ask = read(prompt=prompt)
    assert (ask.texts, ask.ids) == (texts, ids)
    assert ask.sampling.max_tokens == 16


@pytest.mark.parametrize("prompt", ["", [], [""], [[]], [1, "a"], [True], [[1], "a"], [[1.5]]])
def test_other_prompts_are_refused(prompt: Any) -> None:
    with pytest.raises(ApiError) as caught:
        read(prompt=prompt)
    assert caught.value.param == "prompt"


def test_a_suffix_is_for_texts_which_may_then_be_empty_and_do_not_come_out() -> None:
    ask = read(prompt=["a", ""], suffix="b")
    assert (ask.texts, ask.suffix) == (("a", ""), "b")
    assert read(prompt="a", suffix="").suffix is read(prompt="a").suffix is None
    for given, param in (({"prompt": [1]}, "suffix"), ({"prompt": "a", "echo": True}, "echo")):
        with pytest.raises(ApiError) as caught:
            read(**given, suffix="b")
        assert caught.value.param == param


def test_the_newer_name_of_max_tokens_is_followed_and_two_that_differ_are_refused() -> None:
    assert read(prompt="a", max_completion_tokens=7).sampling.max_tokens == 7
    assert read(prompt="a", max_tokens=7, max_completion_tokens=7).sampling.max_tokens == 7
    with pytest.raises(ApiError) as caught:
        read(prompt="a", max_tokens=7, max_completion_tokens=8)
    assert caught.value.param == "max_tokens"


def test_nothing_to_draw_is_for_scoring_only() -> None:
    assert read(prompt="a", max_tokens=0, echo=True).score_only
    with pytest.raises(ApiError, match="0 only with echo"):
        read(prompt="a", max_tokens=0)


def test_scores_are_columns_whose_offsets_are_characters() -> None:
    first = TokenScore(1, "ab", b"ab", None)
    second = TokenScore(2, "c", b"c", -float("inf"), (TokenScore(3, "d", b"d", -0.5),), 2)
    pieces = [Piece(0, "ab", (first,)), Piece(0, "c", (second,), finish="length")]
    body = completion_object(Answered("id", 0, "m", "fp"), [pieces], Usage(1, 0, 1))
    assert body["choices"][0] == {
        "index": 0,
        "text": "abc",
        "logprobs": {
            "tokens": ["ab", "c"],
            "token_logprobs": [None, -9999.0],
            "top_logprobs": [None, {"d": -0.5}],
            "text_offset": [0, 2],
        },
        "finish_reason": "length",
        "stop_reason": None,
    }
