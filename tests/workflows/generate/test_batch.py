"""Bodies of OpenAI's batch rows: every parameter bears on the request, or is refused by its name."""

import json
import re
from typing import Any

import pytest

from llmkit.engine.config import NO_RULE
from llmkit.errors import DataError
from llmkit.formats.jsonl import Line, parse_line
from llmkit.server.errors import ApiError
from llmkit.server.wire.completions import read_prompts
from llmkit.workflows.generate.batch import Body, RefusedError, is_call, read_body, read_call

MESSAGES = [{"role": "user", "content": "Hi"}]


def _line(asked: Any, **changes: Any) -> Line:
    row = {"custom_id": "q", "method": "POST", "url": "/v1/chat/completions", "body": asked} | changes
    return parse_line(json.dumps(row).encode(), "f", 3)


def _chat(**body: Any) -> Body:
    return read_body(_line({"messages": MESSAGES} | body).record, ("run", "folder/run"))


def _text(**body: Any) -> Body:
    return read_body(_line(body, url="/v1/completions").record, ("run",))


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        (
            {"presence_penalty": 1, "frequency_penalty": -1},
            {"presence_penalty": 1.0, "frequency_penalty": -1.0},
        ),
        ({"logit_bias": {"5": -100}}, {"logit_bias": {5: -100.0}}),
        ({"seed": 7}, {"seed": 7}),
        ({"seed": -1}, {}),
        ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"n": 3}, {"samples": 3}),
        ({"max_tokens": 4}, {"max_tokens": 4}),
        ({"max_completion_tokens": 4, "max_tokens": 4}, {"max_tokens": 4}),
        ({"logprobs": True}, {"logprobs": 0}),
        ({"logprobs": True, "top_logprobs": 2}, {"logprobs": 2}),
        ({"logprobs": False}, {"logprobs": None}),
        ({"prompt_cache_key": "k", "prompt_cache_retention": "24h"}, {}),
        ({"top_k": 3, "regex": "a"}, {"top_k": 3}),
        ({"temperature": None, "tools": None, "anything": None}, {}),
        ({"stream": False, "store": False, "tools": [], "tool_choice": "auto", "service_tier": "auto"}, {}),
    ],
)
def test_each_parameter_of_a_chat_is_a_setting_or_says_nothing(
    asked: dict[str, Any], given: dict[str, Any]
) -> None:
    assert _chat(**asked).given == given


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"json_schema": '{"type":"object"}'}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"const": 1}}}},
            {"json_schema": '{"const":1}'},
        ),
        ({"response_format": {"type": "regex", "regex": "a+"}}, {"regex": "a+"}),
        ({"response_format": {"type": "choice", "choice": ["a", "b"]}}, {"choice": ("a", "b")}),
        ({"json_schema": {"const": 1}}, {"json_schema": '{"const":1}'}),
        ({"guided_choice": ["a", "b"]}, {"choice": ("a", "b")}),
        ({"structured_outputs": {"regex": "a"}}, {"regex": "a"}),
        ({"regex": "a" * 100_000}, {"regex": "a" * 100_000}),
    ],
)
def test_rules_are_said_in_the_words_of_every_server_and_replace_those_of_the_flags(
    asked: dict[str, Any], rule: dict[str, Any]
) -> None:
    assert _chat(**asked).rule == _text(prompt="a", **asked).rule == (NO_RULE | rule if rule else {})


def test_messages_are_in_one_piece_and_a_developer_is_the_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = _chat(messages=[{"role": "developer", "content": parts}, *MESSAGES])
    assert body.messages == [{"role": "system", "content": "ab"}, *MESSAGES]
    assert _chat(user="u", safety_identifier="s").owner == "u\0s" and _chat(model="folder/run").owner == ""


def test_a_text_has_a_prompt_of_words_or_of_ids() -> None:
    assert _text(prompt="a", logprobs=2) == Body(given={"logprobs": 2}, prompt="a")
    assert _text(prompt=[1, 2]).prompt == _text(prompt=[1.0, 2]).prompt == [1, 2]
    assert (_text(prompt=["a"]).prompt, _text(prompt=[[3]]).prompt) == ("a", [3])
    assert _text(prompt="a", echo=True, suffix="", best_of=1).echo
    assert _text(prompt="", suffix="b").suffix == "b"
    assert _text(prompt="a", max_completion_tokens=4).given == {"max_tokens": 4}


@pytest.mark.parametrize(
    ("asked", "param", "status"),
    [
        ({"model": "gpt-4o"}, "model", 404),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens", 400),
        ({"top_logprobs": 3}, "top_logprobs", 400),
        ({"response_format": {"type": "xml"}}, "response_format", 400),
        ({"response_format": {"type": "json_schema"}}, "response_format", 400),
        ({"json_schema": {}, "response_format": {"type": "json_object"}}, "response_format", 400),
        ({"temperature": "hot"}, "temperature", 400),
        ({"tools": [{"type": "function"}]}, "tools[0]", 400),
        ({"stream": True}, "stream", 400),
        ({"stream_options": {}}, "stream_options", 400),
        ({"verbosity": "low"}, "verbosity", 400),
        ({"prompt_cache_key": 5}, "prompt_cache_key", 400),
        ({"prompt_cache_retention": "ever"}, "prompt_cache_retention", 400),
        ({"anything": 1}, "anything", 400),
        ({"messages": "Hi"}, "messages", 400),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0]",
            400,
        ),
        ({"messages": [{"role": "user"}]}, "messages[0].content", 400),
        ({"messages": []}, "messages", 400),
        ({"messages": None}, "messages", 400),
        ({"prompt": "a"}, "prompt", 400),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_name(
    asked: dict[str, Any], param: str, status: int
) -> None:
    with pytest.raises(RefusedError, match=re.escape(param)) as caught:
        _chat(**asked)
    assert (caught.value.param, caught.value.status) == (param, status)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, "b"]}, "prompt"),
        ({"prompt": [None]}, "prompt"),
        ({"prompt": [1.5]}, "prompt"),
        ({"prompt": [True, 1]}, "prompt"),
        ({"prompt": [[1], [None]]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [1], "suffix": "b"}, "suffix"),
        ({"prompt": "a", "suffix": "b", "echo": True}, "echo"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "a", "best_of": 2}, "best_of"),
        ({"prompt": "a", "echo": True, "logprobs": 1}, "echo"),
        ({"prompt": [1], "echo": True}, "echo"),
        ({"prompt": "a", "messages": MESSAGES}, "messages"),
    ],
)
def test_of_a_text_too(asked: dict[str, Any], param: str) -> None:
    with pytest.raises(RefusedError) as caught:
        _text(**asked)
    assert caught.value.param == param


@pytest.mark.parametrize("prompt", [[None], [1.5], [True, 1], [], "", [[]], [["a"]], [1, "b"]])
def test_a_prompt_that_is_none_is_refused_in_the_words_of_the_server(prompt: Any) -> None:
    with pytest.raises(ApiError) as served:
        read_prompts(prompt)
    with pytest.raises(RefusedError) as refused:
        _text(prompt=prompt)
    told = served.value
    assert (refused.value.problem, refused.value.status) == (told.message, told.status)
    assert (refused.value.param, refused.value.code) == (told.param, told.code)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"method": "GET"}, "method"),
        ({"url": "/v1/embeddings"}, "url"),
        ({"body": None}, "body"),
        ({"url": 3}, "url"),
    ],
)
def test_a_row_that_asks_for_something_else_is_refused(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read_body(_line({"messages": MESSAGES}, **changes).record, ("run",))
    assert caught.value.param == param


def test_a_call_has_the_key_of_its_content_and_needs_a_custom_id() -> None:
    one, same, other = (read_call(_line({"seed": seed}), "run") for seed in (1, 1, 2))
    assert one == same != other and one.key != other.key and one.is_chat and one.where == "f:3"
    assert is_call(_line({}).record) and not is_call(parse_line(b'{"body": "a letter"}', "f", 1).record)
    with pytest.raises(DataError, match="custom_id"):
        read_call(parse_line(b'{"url": "", "body": {}}', "f", 1), "run")
    assert read_call(_line({}, url=3), "run").url == ""
