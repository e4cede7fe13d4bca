"""A text drawn at random under a form's grammar is calls that its reader finds, valid under their schemas."""

import json
import random
import re
from typing import Any, get_args

import pytest
import tokenizers
from tokenizers import AddedToken

from llmkit.engine.grammar import Grammars
from llmkit.errors import ConfigError
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.forms import FORMS, FormName, ToolForm, form_of
from llmkit.tokens.tools.grammar import calls_grammar, strict_grammar

pytest.importorskip("llguidance")
SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "unit": {"type": "string", "enum": ["°C", 'a"\nb']},
        "count": {"$ref": "#/$defs/count"},
        "tags": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 2},
    },
    "required": ["text", "unit"],
    "additionalProperties": False,
    "$defs": {"count": {"type": "integer", "minimum": 0, "maximum": 99}},
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "get_it", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "now", "parameters": {"additionalProperties": False}}},
]
MARKS = ("[TOOL_CALLS]", "[ARGS]", "<|channel|>", "<|message|>", "<|constrain|>")
ENDINGS = {"glm": "</arg_value>\n", "seed": "</parameter>\n", "minimax": "</parameter>\n"}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Bytes, and the marks that are special tokens in some families."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trainer = tokenizers.trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([], trainer)
    backend.add_special_tokens([AddedToken(mark, special=True) for mark in MARKS])
    return Tokenizer(backend, {}, None)


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    return Grammars(tokenizer, tokenizer.vocab_size)


def drawn(
    tokenizer: Tokenizer,
    grammars: Grammars,
    source: str,
    chance: random.Random,
    mark: str = "\n</parameter>\n",
) -> str:
    """A text under a grammar, in which what is free soon ends: with `mark`, where it is in marks."""
    matcher, content, free = grammars.compile_rule(("tools", source)).start(), b"", 0
    while not matcher.is_complete and len(content) < 2000:
        allowed = matcher.allowed().nonzero()[0].tolist()
        free += len(allowed) > 20
        spelled = {tokenizer.token_bytes(one): one for one in allowed}
        ending = max((n for n in range(len(mark)) if content.endswith(mark[:n].encode())), default=0)
        ends = [mark[ending].encode(), b'"', b"}", b"]"] if free > 12 else []
        one = next((spelled[end] for end in ends if end in spelled), None)
        one = chance.choice(allowed) if one is None else one
        free = 0 if tokenizer.token_bytes(one) in (b'"', b">") else free
        matcher.consume(one)
        content += tokenizer.token_bytes(one)
    return content.decode()


def check(name: str, arguments: dict[str, Any]) -> None:
    """The schema by hand."""
    if name == "now":
        assert arguments == {}
        return
    assert name == "get_it" and {"text", "unit"} <= set(arguments) <= set(SCHEMA["properties"])  # type: ignore[arg-type, call-overload]
    assert isinstance(arguments["text"], str) and arguments["unit"] in ("°C", 'a"\nb')
    count = arguments.get("count", 0)
    assert type(count) is int and 0 <= count <= 99
    assert set(arguments.get("tags", [])) <= {"x", "y"} and len(arguments.get("tags", [])) <= 2


@pytest.mark.parametrize("name", FORMS)
def test_whatever_is_drawn_is_a_call_with_valid_arguments(
    name: str, tokenizer: Tokenizer, grammars: Grammars
) -> None:
    form, chance, seen = form_of(tokenizer, name), random.Random(name), set()
    source = calls_grammar(form, TOOLS, parallel=False)
    for _ in range(25):
        text = drawn(tokenizer, grammars, source, chance, ENDINGS.get(name, "\n</parameter>\n"))
        reader = form.reader(TOOLS, parallel=False)
        told = [reader.push(text), reader.flush()]
        assert told[0][1] or told[1][1], text
        (call,) = [call for _, calls in told for call in calls]
        assert "".join(text for text, _ in told) == "", text
        check(call.name, json.loads(call.arguments))
        seen.add(call.name)
    assert seen == {"get_it", "now"}


@pytest.mark.parametrize("name", [one for one in FORMS if one not in ("llama", "harmony", "json")])
def test_several_calls_may_follow_each_other(name: str, tokenizer: Tokenizer, grammars: Grammars) -> None:
    form, chance, counts = form_of(tokenizer, name), random.Random(1), set()
    source = calls_grammar(form, TOOLS[1:])
    for _ in range(6):
        text = drawn(tokenizer, grammars, source, chance)
        reader = form.reader(TOOLS)
        found = [*reader.push(text)[1], *reader.flush()[1]]
        assert found, text
        assert {one.name for one in found} == {"now"}
        counts.add(len(found))
    assert max(counts) > 1


def test_the_function_that_is_named_is_the_one_called(tokenizer: Tokenizer, grammars: Grammars) -> None:
    form = form_of(tokenizer, "hermes")
    source = calls_grammar(form, TOOLS, name="now", parallel=False)
    assert drawn(tokenizer, grammars, source, random.Random(0)).startswith('<tool_call>\n{"name": "now"')


def test_special_tokens_are_drawn_as_such(tokenizer: Tokenizer, grammars: Grammars) -> None:
    source = calls_grammar(form_of(tokenizer, "mistral"), TOOLS, parallel=False)
    matcher = grammars.compile_rule(("tools", source)).start()
    assert matcher.allowed().nonzero()[0].tolist() == [tokenizer.id_of("[TOOL_CALLS]")]


def test_an_answer_by_its_own_rule_may_stand_in_the_place_of_calls(
    tokenizer: Tokenizer, grammars: Grammars
) -> None:
    form, texts = form_of(tokenizer, "mistral"), set()
    choice = ("choice", ("yes", 'n"o'))
    source = calls_grammar(form, TOOLS[1:], parallel=False, answer=choice)
    for seed in range(12):
        texts.add(drawn(tokenizer, grammars, source, random.Random(seed)))
    assert {"yes", 'n"o'} < texts and any(text.startswith("[TOOL_CALLS]") for text in texts)
    schema = ("json_schema", '{"const": 7}')
    source = calls_grammar(form, TOOLS[1:], parallel=False, answer=schema)
    assert "7" in {drawn(tokenizer, grammars, source, random.Random(seed)) for seed in range(12)}
    for refused in (("regex", "a+"), ("json_schema", "true")):
        with pytest.raises(ConfigError, match=refused[0]):
            calls_grammar(form, TOOLS, answer=refused)


@pytest.mark.parametrize("name", get_args(FormName))
def test_arguments_that_are_no_object_are_refused(name: FormName) -> None:
    tool = {"function": {"name": "f", "parameters": {"type": "array"}}}
    with pytest.raises(ConfigError, match="arguments of f are not an object"):
        calls_grammar(ToolForm(name, {}), [tool])


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"properties": {"a": {"type": "string", "pattern": "^x$"}}}, "pattern"),
        ({"properties": {"a": {"type": "string", "maxLength": 3}}}, "maxLength"),
        ({"anyOf": [{"required": ["a"]}]}, "anyOf"),
        ({"required": ["a"]}, "requires 'a'"),
        ({"properties": {"a>": {"type": "integer"}}}, "'a>'"),
    ],
)
def test_what_marks_cannot_hold_to_is_refused_by_name(schema: dict[str, Any], why: str) -> None:
    tool = {"function": {"name": "f", "parameters": schema}}
    with pytest.raises(ConfigError, match="schema of f") as caught:
        calls_grammar(ToolForm("qwen-xml", {}), [tool])
    assert why in caught.value.problem
    assert calls_grammar(ToolForm("hermes", {}), [tool])


def test_a_schema_that_is_none_is_refused_by_what_is_wrong_with_it(grammars: Grammars) -> None:
    tool = {"function": {"name": "f", "parameters": {"properties": {"a": {"type": "nonsense"}}}}}
    with pytest.raises(ConfigError, match=r"tools: .*nonsense"):
        grammars.compile_rule(("tools", calls_grammar(ToolForm("hermes", {}), [tool])))


STRICT = [
    {"type": "function", "function": TOOLS[0]["function"] | {"strict": True}},
    {"type": "function", "function": {"name": "any", "parameters": {"properties": {"a": {"const": 1}}}}},
]
BY_FORM: dict[FormName, tuple[str, str, str]] = {
    "hermes": (
        '<tool_call>\n{"name": "get_it", "arguments": {"text": "a", "unit": "°C", "count": 7}}\n</tool_call>',
        '"count": 7',
        '<tool_call>\n{"name": "any", "arguments": {"a": 2, "b": []}}\n</tool_call>',
    ),
    "qwen-xml": (
        "<tool_call>\n<function=get_it>\n<parameter=text>\na\n</parameter>\n<parameter=unit>\n°C\n</parameter>\n"
        "<parameter=count>\n7\n</parameter>\n</function>\n</tool_call>",
        "\n7\n",
        "<tool_call>\n<function=any>\n<parameter=b>\n[]\n</parameter>\n</function>\n</tool_call>",
    ),
    "seed": (
        "<seed:tool_call>\n<function=get_it>\n<parameter=text>a</parameter>\n<parameter=unit>°C</parameter>\n"
        "<parameter=count>7</parameter>\n</function>\n</seed:tool_call>",
        ">7<",
        "<seed:tool_call>\n<function=any>\n<parameter=b>[]</parameter>\n</function>\n</seed:tool_call>",
    ),
    "minimax": (
        '<minimax:tool_call>\n<invoke name="get_it">\n<parameter name="text">a</parameter>\n'
        '<parameter name="unit">°C</parameter>\n<parameter name="count">7</parameter>\n</invoke>\n'
        "</minimax:tool_call>",
        ">7<",
        '<minimax:tool_call>\n<invoke name="any">\n<parameter name="b">[]</parameter>\n</invoke>\n'
        '<invoke name="any">\n</invoke>\n</minimax:tool_call>',
    ),
    "glm": (
        "<tool_call>get_it\n<arg_key>text</arg_key>\n<arg_value>a</arg_value>\n<arg_key>unit</arg_key>\n"
        "<arg_value>°C</arg_value>\n<arg_key>count</arg_key>\n<arg_value>7</arg_value>\n</tool_call>",
        ">7<",
        "<tool_call>any\n<arg_key>b</arg_key>\n<arg_value>[]</arg_value>\n</tool_call>",
    ),
    "command-a": (
        '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "get_it", "parameters": {"text": "a", '
        '"unit": "°C", "count": 7}}\n]<|END_ACTION|>',
        '"count": 7',
        '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "any", "parameters": {"a": 2}}\n]'
        "<|END_ACTION|>",
    ),
    "deepseek": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_it<｜tool▁sep｜>"
        '{"text": "a", "unit": "°C", "count": 7}'
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        '"count": 7',
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>any<｜tool▁sep｜>{"a": 2}'
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    ),
    "kimi": (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_it:0<|tool_call_argument_begin|>"
        '{"text": "a", "unit": "°C", "count": 7}<|tool_call_end|><|tool_calls_section_end|>',
        '"count": 7',
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.any:0<|tool_call_argument_begin|>{}"
        "<|tool_call_end|><|tool_calls_section_end|>",
    ),
    "granite": (
        '<|tool_call|>[{"name": "get_it", "arguments": {"text": "a", "unit": "°C", "count": 7}}]',
        '"count": 7',
        '<|tool_call|>[{"name": "any", "arguments": {"a": 2}}, {"name": "any", "arguments": {}}]',
    ),
    "mistral": (
        '[TOOL_CALLS][{"name": "get_it", "arguments": {"text": "a", "unit": "°C", "count": 7}}]',
        '"count": 7',
        '[TOOL_CALLS][{"name": "any", "arguments": {"a": 2}}, {"name": "any", "arguments": {}}]',
    ),
    "mistral-args": (
        '[TOOL_CALLS]get_it[ARGS]{"text": "a", "unit": "°C", "count": 7}',
        '"count": 7',
        '[TOOL_CALLS]any[ARGS]{"a": 2}',
    ),
}


@pytest.mark.parametrize("form", list(BY_FORM))
def test_a_free_text_may_call_and_the_calls_of_a_strict_function_are_valid(
    form: FormName, tokenizer: Tokenizer, grammars: Grammars
) -> None:
    ids = {mark: one for mark in MARKS if (one := tokenizer.id_of(mark)) is not None}
    end = ids.pop("<|message|>")
    marks = {mark: ids.pop(mark) for mark in MARKS[:2]} if "mistral" in form else {}
    made = ToolForm(form, marks, others=(end, *ids.values()))
    source = strict_grammar(made, STRICT)
    assert source is not None
    spelled = {tokenizer.token_bytes(one): one for one in range(tokenizer.vocab_size)}
    by_byte = [spelled[bytes([one])] for one in range(256)]

    def allowed(text: str) -> bool:
        matcher = grammars.compile_rule(("tools", source)).start([end])
        parts = re.split(f"({'|'.join(map(re.escape, marks))})", text) if marks else [text]
        for part in parts:
            for one in [marks[part]] if part in marks else [by_byte[byte] for byte in part.encode()]:
                if not matcher.allowed()[one]:
                    return False
                matcher.consume(one)
        return bool(matcher.allowed()[end])

    call, count, other = BY_FORM[form]
    for text in ("", "a < b <tool_c {}", f"Hm.\n{call}", f"{call}\n{call} and {other}", f"{other} ok <"):
        assert allowed(text), text
    for text in (call.replace(count, count.replace("7", "100")), call[: call.index("text")], f"x{call[:-2]}"):
        assert not allowed(f"Hm. {text}"), text
    assert not allowed(call.replace("get_it", "gone"))


def test_nothing_holds_a_text_where_no_function_is_strict_or_no_mark_begins_a_call() -> None:
    for form in FORMS:
        named = next(one for one in get_args(FormName) if one == form)
        assert strict_grammar(ToolForm(named, {}), TOOLS) is None
        assert (strict_grammar(ToolForm(named, {}), STRICT) is None) == (form not in BY_FORM)
        assert strict_grammar(ToolForm(named, {}, in_words=True), STRICT) is None


def test_a_text_between_marks_that_are_special_tokens_ends_at_the_token() -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator([], tokenizers.trainers.BpeTrainer(initial_alphabet=alphabet))
    marks = ("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")
    backend.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    tokenizer = Tokenizer(backend, {}, None)
    form = form_of(tokenizer, "glm")
    assert set(form.marks) == set(marks)
    tool = {
        "function": {"name": "f", "parameters": {"properties": {"t": {"type": "string"}}, "required": ["t"]}}
    }
    matcher = (
        Grammars(tokenizer, tokenizer.vocab_size)
        .compile_rule(("tools", calls_grammar(form, [tool], parallel=False)))
        .start()
    )
    text = "<tool_call>f\n<arg_key>t</arg_key>\n<arg_value>a <b> </arg_value>\n</tool_call>"
    ids = backend.encode(text, add_special_tokens=False).ids
    for one in ids:
        assert matcher.allowed()[one], backend.decode([one], skip_special_tokens=False)
        matcher.consume(one)
    assert matcher.is_complete
    assert form.reader([tool]).push(text)[1][0].arguments == '{"t": "a <b> "}'
