"""What a chat template is told beside the conversation: by the flag, by a row, in a chat, after calls."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import DataError, UsageError
from llmkit.workflows.chat.history import Conversation
from llmkit.workflows.chat.job import ChatFiles, open_chat
from llmkit.workflows.chat.request import request_of
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import open_job
from llmkit.workflows.generate.near_keys import NearKeys
from llmkit.workflows.generate.row import Row
from llmkit.workflows.generate.rows import read_prompt, read_rows
from llmkit.workflows.generate.template_kwargs import parse_kwargs

TEMPLATE = "{% if enable_thinking is false %}No{% else %}Yes{% endif %}: {{ messages[-1].content }}"
OFF = {"enable_thinking": False}
ASKED = {"messages": [{"role": "user", "content": "the License?"}]}


@pytest.fixture
def folder(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    """A model whose template asks whether it is to think."""
    folder = tiny_model(vocab_size=600, max_position_embeddings=64)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def _rows(folder: Path, *records: Any, told: Any = None, chat: bool = False) -> list[Row]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    config = GenerateConfig(chat=chat, template_kwargs=told or {})
    rows = read_rows(open_job(GenerateFiles(model=folder, jsonl=path), config), path)
    return [row for row in rows if isinstance(row, Row)]


def test_a_row_tells_the_template_and_its_words_win_over_the_flags(folder: Path) -> None:
    own = ASKED | {"chat_template_kwargs": OFF}
    batch = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": ASKED}
    found = _rows(folder, ASKED, own, ASKED | {"chat_template_kwargs": None}, batch)
    assert [row.text for row in found] == [f"{word}: the License?" for word in ("Yes", "No", "Yes", "Yes")]
    on = ASKED | {"chat_template_kwargs": {"enable_thinking": True}}
    found = _rows(folder, ASKED, on, batch, told=OFF)
    assert [row.text for row in found] == [f"{word}: the License?" for word in ("No", "Yes", "No")]


def test_a_prompt_that_is_a_message_is_told_too_and_one_that_is_none_is_an_error(folder: Path) -> None:
    row = {"prompt": "Hi", "chat_template_kwargs": OFF}
    assert [one.text for one in _rows(folder, row, chat=True)] == ["No: Hi"]
    with pytest.raises(DataError, match=r'rows.jsonl:1: "chat_template_kwargs", and no chat'):
        _rows(folder, row)
    with pytest.raises(DataError, match=r"rows.jsonl:1: chat_template_kwargs.messages: none of enable_th"):
        _rows(folder, ASKED | {"chat_template_kwargs": {"messages": []}})
    files = GenerateFiles(model=folder, prompt="Hi")
    assert read_prompt(open_job(files, GenerateConfig(chat=True, template_kwargs=OFF))).text == "No: Hi"
    with pytest.raises(UsageError, match="--chat-template-kwargs does nothing without --chat"):
        open_job(files, GenerateConfig(template_kwargs=OFF))


def test_a_chat_is_told_each_time(folder: Path) -> None:
    for told, word in ((OFF, "No"), ({}, "Yes")):
        job = open_chat(ChatFiles(model=folder), GenerateConfig(chat=True, template_kwargs=told), None).job
        conversation = Conversation()
        conversation.say("Hi")
        assert job.tokenizer is not None
        assert job.tokenizer.decode(request_of(job, conversation, context=64).prompt) == f"{word}: Hi"


def test_what_the_template_does_not_look_at_is_said(folder: Path) -> None:
    told = {**OFF, "reasoning_effort": "low"}
    job = open_job(GenerateFiles(model=folder, prompt="a"), GenerateConfig(chat=True, template_kwargs=told))
    assert job.notes == ("--chat-template-kwargs: the chat template reads no reasoning_effort",)


def test_a_row_that_tells_the_template_in_the_wrong_place_is_noted(folder: Path) -> None:
    keys = NearKeys()
    list(keys.watched(_rows(folder, ASKED | OFF)))
    assert keys.notes == (
        '"enable_thinking" in rows sets nothing, it is passed through: did you mean "chat_template_kwargs"?',
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("think", r"--chat-template-kwargs: JSON is malformed.* \(found think\)"),
        ("[1]", r"--chat-template-kwargs: Expected `object`, got `array`"),
        ('{"enable_thinkng": false}', r"--chat-template-kwargs.enable_thinkng: none of enable_thinking,"),
        ('{"chat_template": ""}', r"--chat-template-kwargs.chat_template: none of"),
    ],
)
def test_a_flag_that_says_nothing_to_a_template_is_an_error(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_kwargs(text)
    assert parse_kwargs('{"enable_thinking": false}') == OFF
