"""Calls in texts that come in pieces: however a text is cut, the same text and the same calls come out."""

import random
from collections.abc import Iterable

import pytest

from llmkit.tokens.tools.calls import CallFinder, FoundCall, NotACall, Syntax
from llmkit.tokens.tools.forms import FORMS, ToolForm, form_in

TOOLS = [
    {"type": "function", "function": {"name": "f", "parameters": {"properties": {"t": {"type": "string"}}}}},
    {"type": "function", "function": {"name": "g"}},
]
CALLS = {
    "hermes": '<tool_call>\n{"name": "f", "arguments": {"t": "a}\\"</tool_call>"}}\n</tool_call>',
    "qwen-xml": '<tool_call>\n<function=f>\n<parameter=t>\na}"</b>\n</parameter>\n</function>\n</tool_call>',
    "seed": '<seed:tool_call>\n<function=f>\n<parameter=t>a}"</b></parameter>\n</function>\n'
    "</seed:tool_call>",
    "minimax": '<minimax:tool_call>\n<invoke name="f">\n<parameter name="t">a}"</b></parameter>\n</invoke>\n'
    "</minimax:tool_call>",
    "glm": '<tool_call>f\n<arg_key>t</arg_key>\n<arg_value>a}"</b></arg_value>\n</tool_call>',
    "llama": '<|python_tag|>{"name": "f", "parameters": {"t": "a}\\"é"}}',
    "mistral": '[TOOL_CALLS][{"name": "f", "arguments": {"t": "]}"}, "id": "abcdefghi"}]',
    "mistral-args": '[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{"t": "]}"}',
    "harmony": '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"t": "<|"}<|call|>',
    "command-r": 'Action:\n```json\n[\n  {"tool_name": "f", "parameters": {"t": "]```"}}\n]```',
    "command-a": '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "f", "parameters": {"t": "]"}}]'
    "<|END_ACTION|>",
    "deepseek": '<｜tool▁call▁begin｜>f<｜tool▁sep｜>{"t": "}"}<｜tool▁call▁end｜>',
    "kimi": '<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"t": "}"}<|tool_call_end|>',
    "granite": '<|tool_call|>[{"name": "f", "arguments": {"t": "]"}}]',
    "json": '{"name": "f", "arguments": {"t": "}"}}',
}
GIVEN = {
    "hermes": '{"t": "a}\\"</tool_call>"}',
    "qwen-xml": '{"t": "a}\\"</b>"}',
    "seed": '{"t": "a}\\"</b>"}',
    "minimax": '{"t": "a}\\"</b>"}',
    "glm": '{"t": "a}\\"</b>"}',
    "llama": '{"t": "a}\\"é"}',
    "mistral": '{"t": "]}"}',
    "mistral-args": '{"t": "]}"}',
    "harmony": '{"t": "<|"}',
    "command-r": '{"t": "]```"}',
    "command-a": '{"t": "]"}',
    "deepseek": '{"t": "}"}',
    "kimi": '{"t": "}"}',
    "granite": '{"t": "]"}',
    "json": '{"t": "}"}',
}
WHOLE = {
    "deepseek": "<｜tool▁calls▁begin｜>CALL\nCALL<｜tool▁calls▁end｜>",
    "kimi": "<|tool_calls_section_begin|>CALL CALL<|tool_calls_section_end|>",
    "minimax": CALLS["minimax"].replace("</invoke>", "</invoke>\n" + CALLS["minimax"][20:-21]),
    "granite": "CALL CALL<|/tool_call|>",  # Phi-4 ends them
}
"""Two calls with one mark around them."""
MARKED = [form for form in FORMS if form != "json"]


def read(form: str, pieces: Iterable[str], *, parallel: bool = True) -> tuple[str, list[FoundCall]]:
    named = next(one for one in CALLS if one == form)
    reader = ToolForm(named, {}).reader(TOOLS, parallel=parallel)  # type: ignore[arg-type]
    told = [*map(reader.push, pieces), reader.flush()]
    return "".join(text for text, _ in told), [call for _, calls in told for call in calls]


def test_every_form_has_its_example_here() -> None:
    assert tuple(CALLS) == FORMS


@pytest.mark.parametrize("form", MARKED)
def test_text_around_calls_is_kept_and_nothing_of_the_calls_shows(form: str) -> None:
    call = FoundCall("f", GIVEN[form])
    text = f"Let me <see> [it] {{}}.\n{CALLS[form]}\n{CALLS[form]}\n\nDone.\n"
    said, found = read(form, [text])
    assert found == [call, call]
    assert said.split() == ["Let", "me", "<see>", "[it]", "{}.", "Done."] and said.endswith("\n\nDone.")
    assert read(form, [f"\n{CALLS[form]}\n{CALLS[form]}\n"]) == ("", [call, call])
    assert read(form, [text], parallel=False) == ("Let me <see> [it] {}.", [call])


@pytest.mark.parametrize("form", FORMS)
def test_any_cutting_gives_the_same(form: str) -> None:
    chance = random.Random(form)
    marks = [
        "<",
        "</",
        "[TOOL",
        "<tool_call>",
        "<|",
        "{",
        "}",
        '"',
        "\\",
        " ",
        "\n",
        "x",
        "é",
        "```json",
        ";",
    ]
    for _ in range(300):
        parts = [*chance.choices(marks, k=chance.randrange(6)), CALLS[form]]
        parts += [
            *chance.choices(marks, k=chance.randrange(6)),
            chance.choice(("", CALLS[form], CALLS[form][:-9])),
        ]
        text = "".join(parts if chance.random() < 0.7 else parts[::-1])
        cuts = sorted(chance.choices(range(len(text) + 1), k=chance.randrange(9)))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert read(form, pieces) == read(form, text) == read(form, [text])


@pytest.mark.parametrize("form", FORMS)
def test_a_call_that_never_ends_is_text(form: str) -> None:
    ends = {"qwen-xml": "</function", "seed": "</function", "minimax": "</invoke", "glm": "</tool_call"}
    last = max(CALLS[form].rfind(end) for end in "}]") if form not in ends else CALLS[form].index(ends[form])
    begins = [n for n in range(1, last + 1) if n <= last]
    for length in begins:
        text = CALLS[form][:length]
        if form == "harmony" and "json<|message|>" not in text:
            continue  # a header alone
        said, found = read(form, text)
        assert (said, found) == (text, []), text


@pytest.mark.parametrize("form", WHOLE)
def test_marks_around_several_calls_are_no_text(form: str) -> None:
    text = WHOLE[form].replace("CALL", CALLS[form])
    assert read(form, f"Hm.\n{text}\n") == ("Hm.", [FoundCall("f", GIVEN[form])] * 2)


@pytest.mark.parametrize("form", MARKED)
def test_of_a_text_that_was_cut_a_second_call_or_one_that_had_to_come_is_dropped(form: str) -> None:
    call = FoundCall("f", GIVEN[form])
    named = next(one for one in CALLS if one == form)
    for required, before, found in ((False, f"A.{CALLS[form]}\n", (call,)), (True, "", ())):
        for length in range(1, CALLS[form].index("f") + 1):
            reader = ToolForm(named, {}).reader(TOOLS, required=required)  # type: ignore[arg-type]
            said, calls = reader.push(before + CALLS[form][:length])
            rest, more = reader.flush(cut=True)
            assert (said + rest, calls + more) == ("A." if before else "", found)
    said, calls = read(form, [f"{CALLS[form][:4]}"])
    assert (said, calls) == (CALLS[form][:4], [])  # no call before, and none required: text


@pytest.mark.parametrize("form", FORMS)
def test_text_without_calls_comes_out_as_it_is(form: str) -> None:
    for text in (
        " a < b <tool > [TOOL] ``` ",
        "  \n",
        '[1, 2] {"name": 3} <tool',
        "Ünï 🙂 {}",
        '{"a": [1]}\n',
    ):
        assert read(form, text) == (text, []) == read(form, [text])


@pytest.mark.parametrize(
    "inner",
    [
        '{"name": "f", "arguments": [1]}',
        '{"name": "f", "arguments": {"a": NaN}}',
        '{"name": "f", "arguments": {"a": 1e999}}',
        '{"name": "f", "arguments": {"a": "\\ud800"}}',
        '{"name": "f x", "arguments": {}}',
        '{"name": 3, "arguments": {}}',
        '{"name": "f", "arguments": {"a": 1,}}',
        "{'name': 'f'}",
        "[]",
        '{"name": "f", "arguments": ' + '{"a":' * 100 + "1" + "}" * 101,
    ],
)
def test_what_is_no_valid_call_is_text(inner: str) -> None:
    text = f"<tool_call>\n{inner}\n</tool_call>"
    said, found = read("hermes", text)
    assert (said, found) == (text, [])


def test_arguments_in_a_text_and_none_at_all_are_read() -> None:
    told = '<tool_call>{"name": "f", "arguments": "{\\"t\\": 1}"}</tool_call>'
    told += '<tool_call>{"name": "g"}</tool_call>'
    assert read("hermes", told) == ("", [FoundCall("f", '{"t": 1}'), FoundCall("g", "{}")])


def test_a_second_opening_mark_begins_again() -> None:
    assert read("hermes", f"<tool_call>{CALLS['hermes']}") == (
        "<tool_call>",
        [FoundCall("f", GIVEN["hermes"])],
    )


def test_bare_json_is_a_call_only_of_a_known_function_and_only_at_the_start() -> None:
    call, found = '{"name": "g", "arguments": {}}', FoundCall("g", "{}")
    assert read("json", f" \n{call}\n") == ("", [found])
    assert read("json", f"```json\n[{call}, {call}]\n```") == ("", [found, found])
    assert read("json", f"<think>\nShould I? {{}}\n</think>\n\n{call}")[1] == [found]
    for text in (f"So: {call}", call.replace('"g"', '"h"'), '{"name": "g"}', f"```python\n{call}\n```"):
        assert read("json", text) == (text, [])
    assert read("llama", '{"name": "f", "parameters": {}}; {"name": "g", "parameters": {}}') == (
        "",
        [FoundCall("f", "{}"), FoundCall("g", "{}")],
    )


def test_a_json_answer_that_is_no_call_is_not_held_back() -> None:
    reader = ToolForm("json", {}).reader(TOOLS)
    assert reader.push('{"city": "Be')[0] == '{"city": "Be'


def test_harmony_shows_what_is_said_and_not_what_is_thought() -> None:
    thought = "<|channel|>analysis<|message|>to=functions.f?<|end|><|start|>assistant"
    said = f"{thought}<|channel|>final<|message|>Hello <b>"
    assert read("harmony", said) == read("harmony", [said]) == ("Hello <b>", [])
    assert read("harmony", thought + CALLS["harmony"])[1] == [FoundCall("f", GIVEN["harmony"])]
    asked = "<|start|>assistant to=functions.g<|channel|>commentary json<|message|>{}"
    assert read("harmony", asked) == ("", [FoundCall("g", "{}")])
    assert read("harmony", "<|channel|>analysis<|message|>never said") == ("", [])


def test_a_long_text_of_openings_takes_no_longer_for_each() -> None:
    text = '<tool_call>{"a' * 5000
    assert read("hermes", [text]) == (text, [])


def test_a_reader_that_refuses_gives_its_characters_back() -> None:
    def refusing() -> Iterable[str]:
        yield ""
        raise NotACall

    finder = CallFinder(Syntax({"!": refusing}))  # type: ignore[dict-item]
    assert finder.push("a !bc")[0] + finder.flush()[0] == "a !bc"


def test_the_forms_of_published_words_are_known() -> None:
    assert form_in("…[TOOL_CALLS]…[ARGS]…") == "mistral-args" and form_in("") == "json"
    assert form_in("<tool_call>\n<function=…>\n<parameter=…>") == "qwen-xml"
    assert form_in("<tool_call>{name}\n<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>") == "glm"
    assert form_in("'<seed:tool_call>'\n<function=…>\n<parameter=…>") == "seed"
    assert form_in("'<minimax:tool_call>'") == "minimax" and form_in("<tool_call>\n{…") == "hermes"
    assert form_in("<｜tool▁call▁begin｜>…<｜tool▁sep｜>") == "deepseek"
    assert form_in("<|tool_call_begin|>…<|tool_call_argument_begin|>") == "kimi"
    assert (
        form_in("write <|START_ACTION|> followed by") == "command-a" and form_in("<|tool_call|>") == "granite"
    )
    assert form_in("<|start|>…<|channel|>…<|message|>") == "harmony"


@pytest.mark.parametrize("tools", [[], TOOLS])
def test_the_marks_around_command_as_answers_are_no_text(tools: list[dict[str, object]]) -> None:
    reader = ToolForm("command-a", {}).reader(tools)
    said = [reader.push(piece)[0] for piece in ("<|START_RESP", "ONSE|>Four <", "3.", "<|END_RESPONSE|>")]
    assert "".join(said) + reader.flush()[0] == "Four <3."
