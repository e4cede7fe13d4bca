"""Earlier calls and results through the published templates: as the model itself would have written them."""

from pathlib import Path
from typing import Any

import pytest

from llmkit.tokens.chat import render_chat
from llmkit.tokens.tools.call_ids import nine_letters
from llmkit.tokens.tools.forms import form_of
from llmkit.tokens.tools.turns import ToolTurns, has_tools, tool_turns
from tests.tokens.test_answers import END_TOKENS, chat_tokenizer, published

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
IDS = ("call_0a1b2c3d4e5f", "call_ffffffffffff")


def call(city: str, name: str) -> dict[str, Any]:
    return {"type": "function", "id": name, "function": {"name": "weather", "arguments": {"city": city}}}


ONE = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": "", "tool_calls": [call("Köln", IDS[0])]},
    {"role": "tool", "tool_call_id": IDS[0], "content": "rain 7"},
]
TWO = [
    ONE[0],
    {"role": "assistant", "content": "", "tool_calls": [call("Köln", IDS[0]), call("Bern", IDS[1])]},
    {"role": "tool", "tool_call_id": IDS[1], "content": "snow -1"},
    ONE[2],
]
CALLED = {  # what stands in the rendered text, whitespace apart
    "CohereForAI-c4ai-command-r-plus-tool_use.jinja": (
        'Action: ```json [ { "tool_name": "weather", "parameters": { "city": "Köln" } } ]```',
        "<results> rain 7</results>",
    ),
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja": (
        '<tool_call> {"name": "weather", "arguments": {"city": "Köln"}} </tool_call><|im_end|>',
        "<tool_response> rain 7 </tool_response>",
    ),
    "Qwen-Qwen2.5-7B-Instruct.jinja": (
        '<tool_call> {"name": "weather", "arguments": {"city": "Köln"}} </tool_call><|im_end|>',
        "<tool_response> rain 7 </tool_response>",
    ),
    "qwen3.tokenizer_config.json": (
        '<tool_call> {"name": "weather", "arguments": {"city": "Köln"}} </tool_call><|im_end|>',
        "<tool_response> rain 7 </tool_response>",
    ),
    "meta-llama-Llama-3.1-8B-Instruct.jinja": (
        '{"name": "weather", "parameters": {"city": "Köln"}}<|eot_id|>',
        '<|start_header_id|>ipython<|end_header_id|> "rain 7"<|eot_id|>',
    ),
    "mistralai-Mistral-Nemo-Instruct-2407.jinja": (
        '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Köln"}, '
        f'"id": "{nine_letters(IDS[0])}"}}]',
        f'[TOOL_RESULTS]{{"content": rain 7, "call_id": "{nine_letters(IDS[0])}"}}[/TOOL_RESULTS]',
    ),
}


def rendered(name: str, folder: Path, messages: list[dict[str, Any]]) -> str:
    tokenizer = published(folder / "chat_templates", name)
    told, tools = tool_turns(tokenizer).told(messages, TOOLS)
    return " ".join(render_chat(tokenizer, told, tools=tools, add_generation_prompt=True).split())


@pytest.mark.parametrize("name", CALLED)
def test_a_call_and_its_result_are_shown_as_the_model_writes_them(name: str, shared_data: Path) -> None:
    text = rendered(name, shared_data, ONE)
    asked, answered = CALLED[name]
    assert asked in text and answered in text and text.index(asked) < text.index(answered)
    assert "weather" in text[: text.index(asked)]  # the tools


@pytest.mark.parametrize("name", CALLED)
def test_the_model_would_be_read_as_having_made_the_call_that_is_shown(name: str, shared_data: Path) -> None:
    reader = form_of(published(shared_data / "chat_templates", name)).reader(TOOLS)
    _, found = reader.push(CALLED[name][0])
    assert [(one.name, one.arguments) for one in found] == [("weather", '{"city": "Köln"}')]


@pytest.mark.parametrize("name", END_TOKENS)
def test_two_calls_and_their_results_come_through_every_published_template(
    name: str, shared_data: Path
) -> None:
    text = rendered(name, shared_data, TWO)
    places = [text.rindex(word) for word in ("Köln", "Bern", "rain 7", "snow -1")]
    assert all(place > text.index("Weather?") for place in places)
    if name.startswith("meta"):  # one call a message: each before its own result
        assert sorted(places) == [places[0], places[2], places[1], places[3]]


@pytest.mark.parametrize("name", END_TOKENS)
def test_every_template_tells_of_the_tools(name: str, shared_data: Path) -> None:
    text = rendered(name, shared_data, ONE[:1])
    assert "weather" in text and "city" in text and "Weather?" in text


def test_arguments_are_text_where_the_template_puts_texts_together() -> None:
    template = (
        "{% for t in tools or [] %}{{ t.function.name + t.function.description }}{% endfor %}"
        "{% for m in messages %}{% for c in m.tool_calls or [] %}"
        "{{ c.function.name + '(' + c.function.arguments + ')' }}{% endfor %}{{ m.content }}{% endfor %}"
    )
    turns = tool_turns(chat_tokenizer(template, "<end>"))
    assert turns.arguments_as_text and turns.needs_descriptions and turns.shows_tools
    told, tools = turns.told(ONE, TOOLS)
    assert told[1]["tool_calls"][0]["function"]["arguments"] == '{"city": "Köln"}'
    assert tools is not None and tools[0]["function"]["description"] == ""


def test_what_was_given_is_not_changed_and_nothing_is_told_where_there_is_nothing() -> None:
    before = repr((TWO, TOOLS))
    for turns in (
        ToolTurns(True, True, arguments_as_text=True, empty_content=False, one_call=True, nine_letters=True),
        ToolTurns(False, False),
    ):
        turns.told(TWO, TOOLS)
        assert turns.told(ONE[:1], None) == (ONE[:1], None)
    assert repr((TWO, TOOLS)) == before
    assert not has_tools(ONE[:1], None) and has_tools(ONE, None)


def test_a_template_for_tools_is_tried_where_there_are_tools_and_calls_are_words_where_not() -> None:
    tokenizer = chat_tokenizer("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "<end>")
    tokenizer.named_templates["tool_use"] = (
        "{% for t in tools %}{{ t.function.name + t.function.description }}{% endfor %}"
        "{% for m in messages %}{% for c in m.tool_calls or [] %}"
        "{{ c.function.name + '(' + c.function.arguments + ')' }}{% endfor %}{{ m.content }}{% endfor %}"
    )
    turns = tool_turns(tokenizer)
    assert turns.shows_tools and turns.shows_calls and turns.arguments_as_text and turns.calls_with_tools
    messages, tools = turns.told(ONE, TOOLS)
    assert render_chat(tokenizer, messages, tools=tools) == 'weatherWeather?weather({"city": "Köln"})rain 7'
    messages, tools = turns.told(ONE, None)
    assert "Result of weather: rain 7" in render_chat(tokenizer, messages, tools=tools)


def test_what_was_thought_before_a_call_stays_where_calls_are_told_in_words() -> None:
    turns = ToolTurns(shows_tools=False, shows_calls=False)
    asked = [ONE[0], {**ONE[1], "reasoning_content": "I ask."}, ONE[2]]
    told, _ = turns.told([*asked, {"role": "assistant", "content": "Rain.", "reasoning": "I know."}], TOOLS)
    assert [one.get("reasoning_content") for one in told] == [None, None, "I ask.", None, "I know."]
    (both,) = turns.told([{**asked[1], "content": "So"}, {**asked[1], "reasoning_content": "Again."}], None)[
        0
    ]
    assert both["reasoning_content"] == "I ask.\nAgain."


HARMONY = (
    "{% for message in messages %}<|start|>"
    "{% if message.tool_calls %}"
    "{% if message.content and message.thinking %}{{ raise_exception('not both') }}{% endif %}"
    "{% if message.content or message.thinking %}assistant<|channel|>analysis<|message|>"
    "{{ message.content or message.thinking }}<|end|><|start|>{% endif %}"
    "assistant to=functions.{{ message.tool_calls[0].function.name }}<|channel|>commentary json<|message|>"
    "{{ message.tool_calls[0].function.arguments | tojson }}<|call|>"
    "{% else %}{{ message.role }}<|message|>{{ message.content }}<|end|>{% endif %}"
    "{% endfor %}<|start|>assistant"
)
"""gpt-oss's template, as far as earlier calls go."""


def test_a_text_beside_thoughts_and_a_call_is_the_last_thought_where_a_template_refuses_both() -> None:
    tokenizer = chat_tokenizer(HARMONY, "<|end|>")
    turns = tool_turns(tokenizer)
    said = {**ONE[1], "content": "Let me look.", "reasoning_content": "I ask."}
    shown = render_chat(tokenizer, turns.told([ONE[0], said, ONE[2]], None)[0], add_generation_prompt=True)
    assert "analysis<|message|>I ask.\nLet me look.<|end|><|start|>assistant to=functions.weather" in shown
    text = render_chat(tokenizer, turns.told([ONE[0], {**ONE[1], "content": "Let me look."}], None)[0])
    assert "analysis<|message|>Let me look.<|end|>" in text


ONLY_FIRST = (
    "{% for m in messages %}{{ m.role }}:{% if m.tool_calls %}{% set c = m.tool_calls[0].function %}"
    "{{ c.name }}({{ c.arguments | tojson }}){% endif %}{{ m.content }};{% endfor %}"
)


def test_calls_after_the_first_come_in_messages_of_their_own_where_a_template_drops_them() -> None:
    tokenizer = chat_tokenizer(ONLY_FIRST, "<end>")  # gpt-oss's does, without a word
    told, _ = tool_turns(tokenizer).told(TWO, None)
    assert [one["role"] for one in told] == ["user", "assistant", "tool", "assistant", "tool"]
    text = render_chat(tokenizer, told)
    assert text.index("Köln") < text.index("rain 7") < text.index("Bern") < text.index("snow -1")


ONLY_IDS = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m.role }}:"
    "{% for c in m.tool_calls %}<|tool_call_begin|>{{ c.id }}<|tool_call_argument_begin|>"
    "{{ c.function.arguments | tojson }}<|tool_call_end|>{% endfor %}"
    "{% if m.role == 'tool' %}## Return of {{ m.tool_call_id }}\n{% endif %}{{ m.content }};{% endfor %}"
)


def test_ids_tell_the_name_and_number_of_a_call_where_a_template_shows_nothing_else_of_it() -> None:
    tokenizer = chat_tokenizer(ONLY_IDS, "<end>")  # Kimi K2's
    turns, form = tool_turns(tokenizer), form_of(tokenizer)
    assert (turns.numbered, turns.one_call, form.name) == (True, False, "kimi")
    told, tools = turns.told([*TWO, *ONE], TOOLS)
    text = render_chat(tokenizer, told, tools=tools)
    assert text.count("<|tool_call_begin|>functions.weather:1<|tool_call_argument_begin|>") == 1
    assert "## Return of functions.weather:1\nsnow -1" in text
    assert "## Return of functions.weather:2\nrain 7" in text
    assert [one.name for one in form.reader(TOOLS).push(text)[1]] == ["weather"] * 3
    assert TWO[1]["tool_calls"][0]["id"] == IDS[0]  # what was given is as it was
