"""Conversations of data sets: rendered as a server renders the same in a request, token for token."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from llmkit.server.prompt_worker import Worker
from llmkit.server.wire.messages_in import read_messages
from llmkit.server.wire.tools import read_tools
from llmkit.tokens.audit import ExampleError
from llmkit.tokens.examples import Conversation
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.supervise import Supervisor
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.records import RecordTurns
from llmkit.workflows.finetune.prompts import open_prompts
from tests.tokens.test_answers import END_TOKENS, chat_tokenizer, published

TURNS = "{% for m in messages %}[{{ m.role }}] {{ m.content }}"
END = "<end>\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
CALLS = (
    "{% for c in m.tool_calls or [] %}{{ c.function.name }}({{ c.function.arguments | tojson }}){% endfor %}"
)
OWN = {
    "names only": "{% for t in tools or [] %}tool {{ t.function.name }}\n{% endfor %}" + TURNS + CALLS + END,
    "nothing of tools": TURNS + END,
    "tools but no calls": "{{ tools | tojson }}" + TURNS + END,
    "texts put together": "{% for t in tools or [] %}"
    "{{ t.function.name + t.function.description }}{% endfor %}"
    + TURNS
    + "{% for c in m.tool_calls or [] %}{{ c.function.name + c.function.arguments }}{% endfor %}"
    + END,
}
WHILE_ASKED = {  # what a template writes, or does not, only where an answer is asked for: as it is learnt
    "CohereForAI-c4ai-command-r-plus-tool_use.jinja": (
        r"<\|START_OF_TURN_TOKEN\|><\|SYSTEM_TOKEN\|>Write 'Action:'.*?<\|END_OF_TURN_TOKEN\|>",
        "",
    ),
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja": (
        r"</tool_response><\|im_end\|>(?=<\|im_start\|>assistant\n$)",
        "</tool_response>\n<|im_end|>",
    ),
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja": (r"<think>\n$", ""),
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    },
    {"type": "function", "function": {"name": "clock", "description": "tells the time"}},
]


def call(city: str, name: str) -> dict[str, Any]:
    arguments = json.dumps({"city": city}, ensure_ascii=False)
    return {"type": "function", "id": name, "function": {"name": "weather", "arguments": arguments}}


ANSWER = {"role": "assistant", "content": "Rain, then snow."}
ASKED = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": None, "tool_calls": [call("Köln", "call_1"), call("Bern", "call_2")]},
    {"role": "tool", "tool_call_id": "call_1", "content": "rain 7"},
    {"role": "tool", "tool_call_id": "call_2", "content": "snow -1"},
]


def folder_of(name: str, byte_level_dir: Path, shared: Path, out: Path) -> Path:
    """A tokenizer's folder: bytes, the template of this name, and the token that ends its turns."""
    own = OWN.get(name)
    told = published(shared / "chat_templates", name) if own is None else chat_tokenizer(own, "<end>")
    backend = tokenizers.Tokenizer.from_str(load_tokenizer(byte_level_dir).backend.to_str())
    special = [told.config[key] for key in ("bos_token", "eos_token")] + [END_TOKENS.get(name, ("<end>",))[0]]
    backend.add_special_tokens([tokenizers.AddedToken(one, special=True) for one in special])
    Tokenizer(backend, told.config, told.chat_template).save(out)
    return out


def served(folder: Path, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> list[int]:
    """What `serve` gives the model for a request with these."""
    message = {"messages": list(read_messages(messages)), "tools": list(read_tools(tools)) or None}
    return list(Worker(folder).answer(message | {"kwargs": {}, "prefill": ""})["ids"])


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (name, asked)
        for name in (*END_TOKENS, *OWN)
        for asked in (ASKED[:1], ASKED)
        if asked is not ASKED or not name.startswith("CohereForAI")  # its calls have no end: refused
    ],
)
def test_a_model_is_served_the_prompt_that_its_answer_was_learnt_after(
    name: str, asked: list[dict[str, Any]], byte_level_dir: Path, shared_data: Path, tmp_path: Path
) -> None:
    folder = folder_of(name, byte_level_dir, shared_data, tmp_path / "tok")
    tokenizer = load_tokenizer(folder)
    for tools in (TOOLS, None):
        conversation = Conversation([*asked, ANSWER], len(asked), tools)
        example, _ = Supervisor(tokenizer).supervise(conversation)
        learnt_after, prompt = example.ids[: example.runs[0][0]].tolist(), served(folder, asked, tools)
        if name in WHILE_ASKED:
            expected = re.sub(*WHILE_ASKED[name], tokenizer.decode(prompt), flags=re.DOTALL)
            assert tokenizer.decode(learnt_after) == expected
        else:
            assert learnt_after == prompt


@pytest.mark.parametrize("name", [*END_TOKENS, *OWN])
def test_a_prompt_without_an_answer_is_the_one_that_is_served(
    name: str, byte_level_dir: Path, shared_data: Path, tmp_path: Path
) -> None:
    folder = folder_of(name, byte_level_dir, shared_data, tmp_path / "tok")
    (tmp_path / "p.jsonl").write_text(json.dumps({"messages": ASKED, "tools": TOOLS}), encoding="utf-8")
    found = open_prompts(
        [tmp_path / "p.jsonl"],
        load_tokenizer(folder),
        SuperviseConfig(),
        max_tokens=8192,
        cache=tmp_path / "cache",
    )
    assert [list(one.ids) for one in found.prompts] == [served(folder, ASKED, TOOLS)]


def test_a_template_that_names_tools_shows_them_as_it_does_to_others(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer(OWN["names only"], "<end>")
    told = RecordTurns(tokenizer).tell(ASKED[:1], TOOLS)
    text = PromptEncoder(tokenizer).render(told.messages, told.tools)
    assert text == "tool weather\ntool clock\n[user] Weather?<end>\n[assistant] "


def test_calls_and_functions_that_are_bare_are_told_as_those_in_full() -> None:
    turns = RecordTurns(chat_tokenizer(OWN["nothing of tools"], "<end>"))
    bare = [
        ASKED[0],
        {"role": "assistant", "tool_calls": [{"name": "weather", "arguments": {"city": "Köln"}}]},
        {"role": "tool", "content": "rain 7"},
    ]
    full = [ASKED[0], {"role": "assistant", "content": None, "tool_calls": [call("Köln", "1")]}, bare[2]]
    assert (
        turns.tell(bare, [one["function"] for one in TOOLS]).messages[:3]
        == turns.tell(full, TOOLS).messages[:3]
    )


def test_messages_keep_the_numbers_that_they_had_in_the_record() -> None:
    merged = RecordTurns(chat_tokenizer(OWN["nothing of tools"], "<end>")).tell([*ASKED, ANSWER], TOOLS)
    assert merged.places == [(), (0,), (1,), (2, 3), (4,)]
    assert RecordTurns(chat_tokenizer(TURNS + END, "<end>")).tell([ANSWER], None).places == [(0,)]
    assert all("_llmkit_places" not in one for one in merged.messages)


@pytest.mark.parametrize(
    ("message", "tools", "problem"),
    [
        ({"tool_calls": [{"name": "f", "arguments": "{"}]}, None, r"message 0: tool_calls\[0\]: .* not JSON"),
        ({"tool_calls": [{"name": "f", "arguments": "[]"}]}, None, "no JSON object"),
        ({"tool_calls": ["f"]}, None, "no call of a function"),
        ({"tool_calls": {"name": "f"}}, None, "is no list"),
        ({"content": {"a": 1}}, TOOLS, "message 0: content is no text"),
        ({"content": "a"}, ["f"], r"tools\[0\] is no function"),
    ],
)
def test_what_no_request_could_say_is_a_fault_of_the_record(
    message: dict[str, Any], tools: list[Any] | None, problem: str
) -> None:
    with pytest.raises(ExampleError, match=problem) as error:
        RecordTurns(chat_tokenizer(TURNS + END, "<end>")).tell([{"role": "assistant", **message}], tools)
    assert error.value.rule == "record.shape"
