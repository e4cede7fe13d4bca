"""The worker's own words: frames, answers, and errors that come back as what they were."""

import io
from pathlib import Path

import pytest

from llmkit.errors import ConfigError, DataError
from llmkit.formats.frames import frame, read_frame
from llmkit.server.prompt_worker import Worker, as_error


def test_frames_come_back_and_a_torn_one_is_the_end() -> None:
    stream = io.BytesIO(frame(b"one") + frame(b"") + frame(b"three")[:-1])
    assert [read_frame(stream), read_frame(stream), read_frame(stream)] == [b"one", b"", None]


def test_errors_come_back_as_what_they_were(tokenizer_folder: Path) -> None:
    worker = Worker(tokenizer_folder)
    message = {"messages": [{"role": "user"}], "tools": None, "kwargs": {}, "prefill": ""}
    assert as_error(worker.answer(message)) is None
    error = as_error(worker.answer({"rule": ["regex", "a("], "vocab_size": 300}))
    assert isinstance(error, ConfigError) and "regex" in error.problem
    worker._tokenizer.chat_template = "{{ raise_exception('no') }}"
    assert isinstance(as_error(worker.answer(message)), DataError)


def test_ids_become_the_text_of_the_tokenizer(tokenizer_folder: Path) -> None:
    worker = Worker(tokenizer_folder)
    ids = worker._tokenizer.backend.encode("the fox <|end|>é").ids
    assert worker.answer({"ids": ids}) == {"text": "the fox <|end|>é"}
    assert worker.answer({"ids": []}) == {"text": ""}


def test_a_template_cannot_reach_out_of_its_sandbox(tokenizer_folder: Path) -> None:
    worker = Worker(tokenizer_folder)
    worker._tokenizer.chat_template = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    message = {"messages": [{"role": "user", "content": "a"}], "tools": None, "kwargs": {}, "prefill": ""}
    answer = worker.answer(message)
    assert "ids" not in answer and "unsafe" in answer["problem"]


@pytest.mark.parametrize(
    "rule", [["choice", "a", "b"], ["json_schema", '{"type": "object"}'], ["grammar", 'root ::= "a"']]
)
def test_a_rule_that_compiles_is_no_error(rule: list[str], tokenizer_folder: Path) -> None:
    pytest.importorskip("llguidance")
    assert Worker(tokenizer_folder).answer({"rule": rule, "vocab_size": 300}) == {"ids": []}


def test_tools_and_earlier_calls_reach_a_template_that_knows_of_neither(tokenizer_folder: Path) -> None:
    worker = Worker(tokenizer_folder)
    call = {"id": "1", "type": "function", "function": {"name": "now", "arguments": {"zone": "UTC"}}}
    messages = [
        {"role": "user", "content": "Time?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "12:30"},
    ]
    tools = [{"type": "function", "function": {"name": "now", "parameters": {}}}]
    answer = worker.answer({"messages": messages, "tools": tools, "kwargs": {}, "prefill": ""})
    begin, _, rest = answer["text"].partition("<|im_start|>user\nTime?<|im_end|>")
    assert begin.startswith("<|im_start|>system\n") and '{"name": "now", "parameters": {}}' in begin
    assert '<|im_start|>assistant\n{"name": "now", "arguments": {"zone": "UTC"}}<|im_end|>' in rest
    assert "<|im_start|>user\nResult of now: 12:30<|im_end|>" in rest


def test_a_rendered_chat_with_bos_is_read_once_as_chats_are(shared_data: Path) -> None:
    worker = Worker(shared_data / "models/stories260K")
    plain, rendered = (worker.answer({"text": text, "marks": True})["ids"] for text in ("a", "<s>a"))
    bos = worker.answer({"text": "", "marks": True})["ids"]
    assert rendered[:1] == bos == plain[:1] and rendered[1:2] != bos
