"""Shared parameters: each is followed or refused by its name, and none asks for more than it may."""

from typing import Any

import pytest

from llmkit.engine.config import NUMBERS, SamplingConfig
from llmkit.server.errors import ApiError
from llmkit.server.wire.chat import ChatRequest, read_chat
from llmkit.server.wire.completions import CompletionRequest, read_completion
from llmkit.server.wire.sampling import (
    SamplingFields,
    WireLimits,
    check_answers,
    check_scores,
    read_sampling,
    read_stream_options,
)

BASE = SamplingConfig(top_p=0.9)


def read(**given: Any) -> SamplingConfig:
    return read_sampling(SamplingFields(**given), BASE, WireLimits(), max_tokens=16)


def test_what_is_given_stands_over_the_base_and_the_rest_of_the_base_stays() -> None:
    assert read(stop_token_ids=[3, 5]).stop_ids == (3, 5)
    found = read(temperature=0.5, top_k=-1, stop="END", logit_bias={"5": -100}, n=2, seed=3)
    assert (found.temperature, found.top_p, found.top_k, found.stop) == (0.5, 0.9, 0, ("END",))
    assert (found.logit_bias, found.samples, found.seed, found.max_tokens) == (((5, -100.0),), 2, 3, 16)


def test_a_hint_for_the_cache_is_taken_and_changes_nothing() -> None:
    turn = {"role": "user", "content": "a"}
    texts = [
        read_completion(CompletionRequest(prompt="a", prompt_cache_key=key), BASE, WireLimits())
        for key in (None, "k")
    ]
    chats = [
        read_chat(ChatRequest(messages=[turn], prompt_cache_key=key), BASE, WireLimits(), max_tokens=9)
        for key in (None, "k")
    ]
    assert texts[0] == texts[1] and chats[0] == chats[1]


def test_any_seed_is_asked_for_by_none_or_by_minus_one() -> None:
    given = [
        read_completion(CompletionRequest(prompt="a", seed=seed), BASE, WireLimits()).seed_given
        for seed in (None, -1, 0)
    ]
    assert given == [False, False, True]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"seed": -2}, "seed"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"stop_token_ids": [1] * 17}, "stop_token_ids"),
        ({"stop": "x" * 2000}, "stop"),
        ({"logit_bias": {"-5": 1.0}}, "logit_bias"),
        ({"logit_bias": {"x": 1.0}}, "logit_bias"),
        ({"logit_bias": {str(one): 1.0 for one in range(2000)}}, "logit_bias"),
        ({"regex": "a" * 70_000}, "regex"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"samplers": ["topk"]}, "samplers"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(given: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(**given)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_stream_options_need_a_stream_and_known_names() -> None:
    assert read_stream_options({"include_usage": True}, stream=True) == (True, False)
    for options, stream in (
        ({"include_usage": True}, False),
        ({"x": True}, True),
        ({"include_usage": 1}, True),
    ):
        with pytest.raises(ApiError):
            read_stream_options(options, stream=stream)


def test_prompts_times_samples_are_bounded_together() -> None:
    check_answers(4, 4, WireLimits(), ("prompt",))
    with pytest.raises(ApiError, match="at most 16 answers"):
        check_answers(17, 1, WireLimits(), ("prompt",))


def test_every_field_of_a_request_is_read_somewhere() -> None:
    import inspect

    import msgspec

    from llmkit.server.wire import completions, rules, sampling

    source = "".join(map(inspect.getsource, (sampling, rules, completions)))
    for field in msgspec.structs.fields(CompletionRequest):
        assert field.name in NUMBERS or source.count(field.name) >= 2, field.name  # said once, and read


@pytest.mark.parametrize("name", [name for name in NUMBERS if name != "samples"])
def test_every_number_of_the_sampler_can_be_asked_for(name: str) -> None:
    value = {"mirostat": 2, "dry_base": 1.5}.get(name, 7 if NUMBERS[name] is int else 0.5)
    assert getattr(BASE, name) != value == getattr(read(**{name: value}), name)


def test_scores_are_limited_by_tokens_times_alternatives() -> None:
    limits = WireLimits()
    check_scores("logprobs", 20, 4096, limits)
    check_scores("logprobs", 1, limits.scores // 2, limits)
    with pytest.raises(ApiError, match="21 scores for each of up to 32,004 tokens are 672,084") as caught:
        check_scores("top_logprobs", 20, 4 * 8001, limits)
    assert (caught.value.status, caught.value.param) == (400, "top_logprobs")
