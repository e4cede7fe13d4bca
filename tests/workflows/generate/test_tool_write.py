"""generate with tools: a model of random weights, held to calls of a program that has one argument of two."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from llmkit.engine.completion import Completion, Piece
from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.engine.request import Request
from llmkit.errors import DataError, UsageError
from llmkit.retrieve.tools.loop import Called, Toolbox
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tools.records import RecordTurns
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.generate import GenerateReport, generate_files, plan_generate
from llmkit.workflows.generate.job import open_job
from llmkit.workflows.generate.output import TextOutput
from llmkit.workflows.generate.row import Row
from llmkit.workflows.generate.rows import read_rows
from llmkit.workflows.generate.tool_write import ToolWriting
from llmkit.workflows.tool.options import ToolOptions
from llmkit.workflows.tool.talk import Said, ToolTalk

pytest.importorskip("llguidance")
SCHEMA = {
    "description": "The weather of a town",
    "parameters": {
        "type": "object",
        "properties": {"town": {"enum": ["Oslo", "Rome"]}},
        "required": ["town"],
        "additionalProperties": False,
    },
}
SCRIPT = """#!/bin/sh
if [ "$1" = --schema ]; then cat "$0.json"; else cat >> "$0.log"; echo '{"degrees": 21}'; fi
"""


class Bench:
    """A model, a program, and a way to let the one call the other."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.model, self.folder = model, folder
        self.program = folder / "weather"
        self.program.write_text(SCRIPT)
        self.program.chmod(0o755)
        (folder / "weather.json").write_text(json.dumps(SCHEMA))
        self.told: list[Called] = []

    @property
    def ran(self) -> list[dict[str, Any]]:
        """What the program itself saw."""
        log = self.folder / "weather.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def options(self, **more: Any) -> ToolOptions:
        given = {"tools": (f"weather: {self.program}",), "approve": "auto", "choice": "required"}
        return ToolOptions(**(given | {"told": self.told.append} | more))

    def run(self, *, tools: ToolOptions | None = None, sampling: Any = None, **files: Any) -> Any:
        out = self.folder / "out"
        asked = {"model": self.model, "out": out, "force": True, "tools": tools or self.options()}
        config = GenerateConfig(
            sampling={"max_tokens": 150, "seed": 3} | (sampling or {}),
            chat=True,
            as_json="prompt" in files,
        )
        self.report: GenerateReport = generate_files(GenerateFiles(**(asked | files)), config)
        return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.fixture
def bench(spelled_model: Callable[..., Path], tmp_path: Path) -> Bench:
    return Bench(spelled_model(max_position_embeddings=1024), tmp_path)


def test_a_call_is_made_its_result_stands_in_the_conversation_and_the_answer_follows(bench: Bench) -> None:
    (record,) = bench.run(prompt="Is it warm?")
    user, asked, result, answer = record["messages"]
    (call,) = asked["tool_calls"]
    town = call["function"]["arguments"]["town"]
    assert user == {"role": "user", "content": "Is it warm?"}
    assert bench.ran == [{"town": town}] and town in ("Oslo", "Rome")
    assert result == {
        **{"role": "tool", "tool_call_id": "call_1", "name": "weather", "content": '{"degrees": 21}'}
    }
    assert answer == {"role": "assistant", "content": record["completion"]}
    assert record["calls"] == 1 and record["tools"][0]["function"]["parameters"] == SCHEMA["parameters"]
    assert bench.told == [Called("weather", json.dumps({"town": town}), '{"degrees": 21}', failed=False)]
    assert record["usage"]["completion_tokens"] == bench.report.completion_tokens
    assert record["usage"]["completion_tokens"] == 150 and record["finish_reason"] == "length"  # all together


def test_the_prompt_of_every_text_counts_not_only_the_first(bench: Bench) -> None:
    (record,) = bench.run(prompt="Is it warm?")
    tokenizer = load_tokenizer(bench.model)
    talk = ToolTalk(Toolbox([], lambda name, given: True), tokenizer, PromptEncoder(tokenizer))
    talk._functions = record["tools"]
    asked = talk.encode(record["messages"][:1])[0], talk.encode(record["messages"][:3])[0]
    assert record["usage"]["prompt_tokens"] == sum(map(len, asked))
    assert bench.report.prompt_tokens == bench.report.stats.prompt_tokens == sum(map(len, asked))


def test_the_template_is_told_the_same_after_a_call_as_before(bench: Bench) -> None:
    template = bench.model / "chat_template.jinja"
    told = "{% if enable_thinking is false %}no thoughts{% endif %}"
    template.write_text(told + load_tokenizer(bench.model).chat_template)
    rows = bench.folder / "rows.jsonl"
    row = {"id": 1, "messages": [{"role": "user", "content": "Is it warm?"}]}
    both = row, row | {"chat_template_kwargs": {"enable_thinking": False}}
    rows.write_text("".join(json.dumps(one) + "\n" for one in both))
    found = bench.run(jsonl=rows)
    tokenizer = load_tokenizer(bench.model)
    talk = ToolTalk(Toolbox([], lambda name, given: True), tokenizer, PromptEncoder(tokenizer))
    for record, settings in zip(found, ({}, {"enable_thinking": False}), strict=True):
        talk._functions = record["tools"]
        asked = [talk.encode(record["messages"][:many], **settings)[0] for many in (1, 3)]
        assert record["usage"]["prompt_tokens"] == sum(map(len, asked))


class _Noted(BytesIO):
    """Notes what is written, among what else happens."""

    def __init__(self, events: list[str]) -> None:
        super().__init__()
        self._events = events

    def write(self, content: Any) -> int:
        self._events.append(bytes(content).decode())
        return super().write(content)


def test_a_line_ends_before_a_call_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    piece = Piece(0, "", Completion("", (), "stop"))
    events: list[str] = []

    class Talk:
        toolbox = SimpleNamespace(functions=[])

        def reply(self, engine: Any, messages: list[Any], request: Any) -> Iterator[Said]:
            yield Said("Let me look.", piece, asks=True)
            events.append("the call")
            yield Said("Warm.", piece)

    row = Row(Request((1,), SamplingConfig()), {}, messages=[])
    writing = ToolWriting.__new__(ToolWriting)
    writing.__dict__ |= {"_output": TextOutput(_Noted(events), echo=False, flush=True), "meter": None}
    monkeypatch.setattr(writing, "_count", lambda row, whole: None)
    writing._answer(cast(Any, Talk()), row, 0)
    assert events == ["Let me look.", "\n", "the call", "Warm.", "\n"]


def test_the_same_seed_gives_the_same_conversation_and_a_replay_gives_it_with_nothing_run(
    bench: Bench,
) -> None:
    (first,) = bench.run(prompt="Is it warm?")
    transcript = bench.folder / "transcript.jsonl"
    transcript.write_text(json.dumps(first) + "\n")
    (again,) = bench.run(prompt="Is it warm?")
    assert again == first and len(bench.ran) == 2
    bench.program.unlink()
    replay = bench.options(tools=(), replay=transcript, approve="ask")  # nobody is asked: nothing is run
    assert bench.run(prompt="Is it warm?", tools=replay) == [first] and len(bench.ran) == 2
    first["messages"][1]["tool_calls"][0]["function"]["arguments"] = {"town": "Paris"}
    transcript.write_text(json.dumps(first) + "\n")
    with pytest.raises(DataError, match=r"has no result of weather\(\{\"town\""):
        bench.run(prompt="Is it warm?", tools=replay)


def test_a_call_that_is_not_approved_is_not_made_and_the_model_is_told(bench: Bench) -> None:
    (record,) = bench.run(prompt="Is it warm?", tools=bench.options(approve="never"))
    assert bench.ran == [] and bench.told[0].failed
    assert json.loads(record["messages"][2]["content"]) == {"error": "the user did not approve this call"}


def test_rows_are_conversations_of_their_own_and_each_sample_has_its_seed(bench: Bench) -> None:
    rows = bench.folder / "rows.jsonl"
    given = [
        {"id": "a", "prompt": "Oslo?"},
        {"id": "b", "messages": [{"role": "user", "content": "Rome?"}], "samples": 2},
    ]
    rows.write_text("".join(json.dumps(row) + "\n" for row in given))
    records = bench.run(jsonl=rows)
    assert [(one["id"], one.get("sample")) for one in records] == [("a", None), ("b", 0), ("b", 1)]
    assert [one["messages"][0]["content"] for one in records] == ["Oslo?", "Rome?", "Rome?"]
    assert records[1]["messages"] != records[2]["messages"]
    assert len(bench.ran) == 3 == sum(one["calls"] for one in records)


def test_without_a_call_the_text_is_that_of_the_same_conversation_without_tools(bench: Bench) -> None:
    """The functions are told in a system message here: without tools the same message gives the same text."""
    (record,) = bench.run(prompt="Hi", tools=bench.options(choice="auto"), sampling={"max_tokens": 9})
    assert record["calls"] == 0 and len(record["messages"]) == 2
    from llmkit.tokens.load import load_tokenizer
    from llmkit.tokens.tools.turns import tool_turns

    told, _ = tool_turns(load_tokenizer(bench.model)).told(record["messages"][:1], record["tools"])
    rows = bench.folder / "rows.jsonl"
    rows.write_text(json.dumps({"messages": told, "seed": 3}) + "\n")
    generate_files(
        GenerateFiles(model=bench.model, jsonl=rows, out=bench.folder / "plain"),
        GenerateConfig(sampling={"max_tokens": 9}),
    )
    assert json.loads((bench.folder / "plain").read_text())["completion"] == record["completion"]


def test_a_transcript_is_one_prompt_to_a_row_without_tools_and_to_finetune(bench: Bench) -> None:
    (record,) = bench.run(prompt="Is it warm?")
    rows = bench.folder / "rows.jsonl"
    rows.write_text(json.dumps({key: record[key] for key in ("messages", "tools", "calls")}) + "\n")
    job = open_job(GenerateFiles(model=bench.model, jsonl=rows), GenerateConfig())
    (row,) = read_rows(job, rows)
    tokenizer = load_tokenizer(bench.model)
    told = RecordTurns(tokenizer).tell(record["messages"], record["tools"])
    assert isinstance(row, Row) and row.text == PromptEncoder(tokenizer).render(told.messages, told.tools)
    assert '{"degrees": 21}' in row.text and "The weather of a town" in row.text


def test_a_transcript_begins_with_the_messages_as_they_came(bench: Bench) -> None:
    given = [
        {"role": "developer", "content": [{"type": "text", "text": "Brief."}]},
        {"role": "user", "content": "Warm?", "name": "Ada"},
    ]
    rows = bench.folder / "rows.jsonl"
    rows.write_text(json.dumps({"messages": given}) + "\n")
    (record,) = bench.run(jsonl=rows)
    assert record["messages"][:2] == given and record["calls"] == 1
    tokenizer = load_tokenizer(bench.model)
    talk = ToolTalk(Toolbox([], lambda name, given: True), tokenizer, PromptEncoder(tokenizer))
    assert "system\nBrief." in talk.encode(given)[1]


def test_what_rows_cannot_have_beside_tools_is_refused(bench: Bench) -> None:
    rows = bench.folder / "rows.jsonl"
    for name, value in (("tokens", [1]), ("prefill", "x"), ("logprobs", 1), ("tools", [{"type": "x"}])):
        rows.write_text(json.dumps({"prompt": "Hi", name: value}) + "\n")
        with pytest.raises(DataError, match=name):
            bench.run(jsonl=rows)
    call = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    rows.write_text(json.dumps(call | {"body": {"messages": [{"role": "user", "content": "Hi"}]}}) + "\n")
    (refused,) = bench.run(jsonl=rows)
    assert "--tool is not for rows of a batch file" in refused["response"]["body"]["error"]["message"]


def test_a_plan_runs_the_checks_and_makes_no_call(bench: Bench) -> None:
    files = GenerateFiles(model=bench.model, prompt="Hi", tools=bench.options())
    plan = plan_generate(files, GenerateConfig(chat=True, sampling={"max_tokens": 10}))
    assert plan.texts_at_once == 1 and bench.ran == []
    with pytest.raises(UsageError, match="no terminal"):
        plan_generate(
            GenerateFiles(model=bench.model, prompt="Hi", tools=bench.options(approve="ask")),
            GenerateConfig(chat=True),
        )
