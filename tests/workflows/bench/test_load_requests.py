"""The requests of a load, against sizes and shares worked out by hand."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, LlmkitError
from llmkit.probe.load_config import BenchServeConfig
from llmkit.workflows.bench.load_requests import CHAT, COMPLETIONS, read_prompts, request_of, requests_of


def test_made_up_prompts_are_as_long_as_asked_for_behind_what_all_share() -> None:
    config = BenchServeConfig(
        **{"requests": 40, "prompt_tokens": 30, "shared_tokens": 10, "long_prompt_tokens": 50},
        **{"long_share": 0.5, "max_tokens": 2, "long_max_tokens": 3},
    )
    made = list(requests_of(config, "m", None, words=2.0))  # two words a token
    assert {(one.kind, len(one.body["prompt"].split()), one.body["max_tokens"]) for one in made} == {
        ("short", 2 * 30, 2),
        ("long", 2 * 50, 3),
    }
    starts = {tuple(one.body["prompt"].split()[:20]) for one in made}
    assert len(starts) == 1 and len({one.body["prompt"] for one in made}) == 40
    assert [one.body for one in requests_of(config, "m", None, words=2.0)] == [one.body for one in made]


def test_rows_of_a_file_begin_again_until_nobody_asks() -> None:
    rows = [{"prompt": "a"}, {"prompt": "b", "max_tokens": 7}]
    config = BenchServeConfig(seconds=1.0, max_tokens=5)
    made = islice(requests_of(config, "m", rows, words=1.0), 5)
    assert [(one.body["prompt"], one.body["max_tokens"]) for one in made] == [
        *[("a", 5), ("b", 7)] * 2,
        ("a", 5),
    ]


def test_a_prompt_is_a_users_message_where_conversations_are_asked_for() -> None:
    row = {"prompt": "a"}
    plain = request_of("k", BenchServeConfig(requests=1, stream=False, ignore_eos=False), "m", row, 4)
    assert (plain.path, plain.body) == (
        COMPLETIONS,
        {"model": "m", "max_tokens": 4, "stream": False, "prompt": "a"},
    )
    chat = request_of("k", BenchServeConfig(requests=1, chat=True), "m", row, 4)
    assert (chat.path, chat.body["messages"]) == (CHAT, [{"role": "user", "content": "a"}])
    assert chat.body["stream_options"] == {"include_usage": True} and chat.body["ignore_eos"] is True


@pytest.mark.parametrize("wrong", [0, -3, 1.5, "8", True])
def test_a_row_that_asks_for_a_number_of_tokens_that_is_none_is_refused(wrong: Any, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": "a"}) + "\n" + json.dumps({"prompt": "a", "max_tokens": wrong}))
    with pytest.raises(DataError, match=r'prompts\.jsonl:2: "max_tokens"'):
        read_prompts(path)


@pytest.mark.parametrize(("content", "says"), [("", "no prompts"), ('{"text": "a"}\n', '"prompt"')])
def test_a_file_without_prompts_is_refused(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(content)
    with pytest.raises(LlmkitError, match=says):
        read_prompts(path)
