"""Requests: what is refused before a model runs, and how many tokens there can be."""

from dataclasses import replace

import pytest

from llmkit.engine.blocks import root_key
from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Drawn, Request
from llmkit.errors import ConfigError, DataError, UsageError
from llmkit.model.config import ModelConfig

CONFIG = ModelConfig(
    vocab_size=10,
    hidden_size=8,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    max_position_embeddings=6,
)


def _request(*prompt: int, max_tokens: int = 4) -> Request:
    return Request(prompt, SamplingConfig(max_tokens=max_tokens))


def test_caches_are_kept_apart_by_owner_adapter_and_salt_whatever_these_are_called() -> None:
    words = ("", "a", "b")
    found = [
        replace(_request(1), key=key, salt=salt).cached_under(adapter)
        for key in words
        for salt in words
        for adapter in words
    ]
    assert len({root_key(*one) for one in found}) == 27
    assert found[0] == ("",) and found[1] == ("", "a")  # as caches on disk have it


@pytest.mark.parametrize(("length", "room"), [(1, 4), (2, 4), (3, 3), (5, 1)])
def test_there_is_room_for_max_tokens_or_for_the_rest_of_the_context(length: int, room: int) -> None:
    request = _request(*range(length))
    request.check(CONFIG)
    assert request.room(CONFIG) == room


def test_a_prompt_that_fills_the_context_is_refused_with_both_sizes() -> None:
    with pytest.raises(UsageError, match=r"has 6 tokens, .* context of 6") as caught:
        _request(*range(6)).check(CONFIG)
    assert "--truncate 3" in caught.value.hint


def test_ids_that_were_asked_for_end_a_text_also_where_those_of_the_model_are_ignored() -> None:
    for ignore, ends in ((False, {5, 6, 7}), (True, {7})):
        sampling = SamplingConfig(stop_ids=(7,), ignore_eos=ignore)
        assert Request((1,), sampling, stop_ids=frozenset({6})).ends(frozenset({5})) == ends
    with pytest.raises(ConfigError, match=r"stop_ids: token id 10 .* vocabulary of 10"):
        Request((1,), SamplingConfig(stop_ids=(9, 10))).check(CONFIG)


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(UsageError, match="no token"):
        _request().check(CONFIG)


@pytest.mark.parametrize("wrong", [-1, 10])
def test_an_id_that_the_model_does_not_have_is_bad_data(wrong: int) -> None:
    with pytest.raises(DataError, match=f"token id {wrong} .* vocabulary of 10"):
        _request(9, wrong).check(CONFIG)


@pytest.mark.parametrize("wrong", [-1, 10])
def test_a_bias_for_such_an_id_is_refused(wrong: int) -> None:
    request = Request((1,), SamplingConfig(logit_bias=((9, 1.0), (wrong, 1.0))))
    with pytest.raises(ConfigError, match=f"logit_bias: token id {wrong} .* vocabulary of 10"):
        request.check(CONFIG)


def test_only_a_token_that_stops_a_text_is_no_part_of_it() -> None:
    assert [Drawn(1, finish).is_text for finish in (None, "length", "stop")] == [True, True, False]
    assert Drawn(1, "stop", completes=True).is_text  # the last token of a grammar belongs to the text


@pytest.mark.parametrize("first", [0, 3, 4])
def test_something_stands_before_what_is_scored_and_something_is(first: int) -> None:
    scored = Request((1, 2, 3), SamplingConfig(), scores_prompt="only", scores_from=first)
    with pytest.raises(UsageError, match=f"scored from token {first} of 3"):
        scored.check(CONFIG)


def test_what_is_read_is_the_prompt_or_what_stands_before_the_scored() -> None:
    assert _request(1, 2, 3).read == (1, 2, 3)
    assert Request((1, 2, 3), SamplingConfig(), scores_prompt="too").read == (1,)
    assert Request((1, 2, 3), SamplingConfig(), scores_prompt="only", scores_from=2).read == (1, 2)
