"""The edges of what may be asked for are where `read_sampling` has them."""

from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from llmkit.engine.config import SamplingConfig
from llmkit.server.errors import ApiError
from llmkit.server.strict_json import decode
from llmkit.server.wire.chat import ChatRequest, read_chat
from llmkit.server.wire.openapi_bodies import body_schema
from llmkit.server.wire.openapi_parts import PARTS
from llmkit.server.wire.openapi_sampling import RULES, Facts, named_model
from llmkit.server.wire.sampling import WireLimits

MESSAGES = [{"role": "user", "content": "a"}]
BASE = SamplingConfig(temperature=1.0)
SAMPLERS = ["top_k", "temperature", "min_p", "typical_p", "top_p", "top_n_sigma", "xtc_probability"]
AT_EDGES: dict[str, tuple[list[Any], list[Any]]] = {
    "max_tokens": ([None, 1, 10**12], [0, -1, 1.5, "1"]),
    "temperature": ([0, 999_999], [-0.1, 1e6, "1"]),
    "top_p": ([1e-9, 1], [0, 1.1]),
    "top_k": ([-1, 0, 5], [-2, 0.5]),
    "min_p": ([0, 1], [-0.1, 1.1]),
    "typical_p": ([0.1, 1], [0, 2]),
    "repetition_penalty": ([1e-6, 2], [0, 1e-7, 5e-324, 1e6]),
    "top_n_sigma": ([0, 2.5], [-1, 1e6]),
    "xtc_probability": ([0, 1], [-0.1, 1.1]),
    "xtc_threshold": ([0.1, 1], [0, 1.1]),
    "dry_multiplier": ([0, 0.8], [-0.1, 1e6]),
    "dry_base": ([1, 1.75], [0.9, 1e6]),
    "dry_allowed_length": ([1, 20], [0, 1.5]),
    "dry_penalty_last_n": ([-1, 0, 64], [-2, "1"]),
    "dry_sequence_breakers": ([[], ["a" * 64] * 64], ["a", [""], ["a"] * 65, ["a" * 65], [1]]),
    "adaptive_target": ([-1, 0, 1], [1.1, -1e6]),
    "adaptive_decay": ([0, 0.99], [-0.1, 0.995]),
    "mirostat": ([0, 1, 2], [-1, 3, 0.5]),
    "mirostat_tau": ([0, 5], [-0.1, 1e6]),
    "mirostat_eta": ([0, 1], [-0.1, 1.1]),
    "stop_token_ids": ([[], [0] * 16], [[0] * 17, ["a"]]),
    "presence_penalty": ([-9, 9], [1e6, -1e6]),
    "frequency_penalty": ([-9, 9], [1e6, -1e6]),
    "repeat_last_n": ([-1, 0, 64], [-2, 0.5]),
    "logit_bias": ([{}, {"0": 1.5, "999999999": -100}], [{"a": 1}, {"-1": 1}, {"0": 1e6}, {"1" * 10: 1}]),
    "stop": (["a", ["a"] * 16, []], ["", [""], ["a"] * 17, "a" * 1025, 1]),
    "seed": ([-1, 0, 2**63 - 1], [-2, 2**63]),
    "n": ([1, 16], [0, 17]),
    "samplers": ([SAMPLERS, None], [["top_k", "top_k"], ["heat"], "top_k"]),
    "json_schema": ([{}, True], [1, []]),
    "choice": ([["a"]], [[], "a"]),
    "structured_outputs": ([{}, {"regex": "a"}], [{"json": {}, "regex": "a"}, {"more": 1}, {"choice": []}]),
    "store": ([None, False], [True, "a"]),
    "metadata": ([{}], [{"a": "b"}]),
    "service_tier": (["auto", "default"], ["flex"]),
    "verbosity": (["medium"], ["high"]),
    "top_logprobs": ([0, None], [-1, 21]),
}
TOGETHER: list[tuple[dict[str, Any], bool]] = [
    ({"max_tokens": 1}, True),
    ({"max_tokens": 1, "max_completion_tokens": 2}, False),
    *(({RULES[0]: {}, other: value}, False) for other, value in (("regex", "a"), ("guided_choice", ["a"]))),
    ({"regex": "a", "response_format": {"type": "json_object"}}, False),
    ({"guided_regex": "a", "guided_grammar": 'root ::= "a"'}, False),
    ({"samplers": ["top_k"], "top_p": 0.5, "temperature": 1}, False),
    ({"mirostat": 2, "adaptive_target": 0.0}, False),
    ({"mirostat": 2, "adaptive_target": -1}, True),
    ({"mirostat": 0, "adaptive_target": 0.5}, True),
    ({"stream_options": {"include_usage": True}}, False),
    ({"stream_options": {"include_usage": True}, "stream": True}, True),
    ({"stream_options": {"include_obfuscation": True}, "stream": True}, False),
    ({"best_of": 1, "n": 1}, True),
    ({"best_of": 2}, False),
    ({"top_logprobs": 3}, False),
    ({"top_logprobs": 3, "logprobs": True}, True),
    ({"tool_choice": "required"}, False),
    ({"tool_choice": "none"}, True),
]


def allowed(more: dict[str, Any]) -> bool:
    whole = body_schema(ChatRequest, Facts()) | {"components": {"schemas": PARTS}}
    return bool(Draft202012Validator(whole).is_valid({"messages": MESSAGES, **more}))


def taken(more: dict[str, Any]) -> bool:
    content = msgspec.json.encode({"messages": MESSAGES, **more})
    try:
        read_chat(decode(content, ChatRequest), BASE, WireLimits(), max_tokens=10)
    except ApiError as error:
        assert error.status == 400
        return False
    return True


@pytest.mark.parametrize("name", AT_EDGES)
def test_a_field_ends_where_the_document_says_it_does(name: str) -> None:
    inside, outside = AT_EDGES[name]
    for value in inside:
        assert allowed({name: value}) and taken({name: value}), value
    for value in outside:
        assert not allowed({name: value}) and not taken({name: value}), value


@pytest.mark.parametrize(("more", "good"), TOGETHER, ids=str)
def test_fields_exclude_each_other_where_the_document_says_so(more: dict[str, Any], good: bool) -> None:
    assert (allowed(more), taken(more)) == (good, good)


def test_a_model_is_one_of_those_that_there_are() -> None:
    facts = Facts(models=("a", "a:poet"))
    assert named_model(facts)["enum"] == [None, "a", "a:poet"]
    assert named_model(facts, adapters=False)["enum"] == [None, "a"]
    assert Draft202012Validator(named_model(Facts())).is_valid("whatever")
