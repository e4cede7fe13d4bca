"""Grammars under which a text is calls of functions, each valid under its schema, in a model's own form.

They are llguidance's dialect of Lark: a rule for each function, its arguments by `%json`.
Source: llguidance, docs/syntax.md.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmkit.errors import ConfigError
from llmkit.tokens.json_schema import BLANKS, held_schema
from llmkit.tokens.tools.bodies import HARMONY_ANSWER
from llmkit.tokens.tools.forms import FormName, ToolForm

_COMBINED = ("anyOf", "oneOf", "allOf", "not", "if", "$ref", "patternProperties", "minProperties")
_OF_TEXTS = ("pattern", "format", "minLength", "maxLength", "not", "anyOf", "oneOf", "allOf", "$ref")
_END = r'"\n</parameter>\n"'
_VALUE = r'value[suffix="\n</parameter>"]: /(?s:(([^<]|<[^\/]).*)?|<)/'
"""A text to its end mark, which is not its beginning."""


@dataclass(frozen=True)
class _Shape:
    """A text of calls: `begin`, calls with `between` them, `end`; of each `before`, arguments, `after`."""

    before: str
    after: str = ""
    begin: str = ""
    between: str | None = None
    """None: there is never more than one."""
    end: str = ""
    answer: str = ""
    """Stands before a text that comes in place of calls."""


_SHAPES: dict[FormName, _Shape] = {
    "hermes": _Shape('<tool_call>\n{"name": "NAME", "arguments": ', "}\n</tool_call>", between="\n"),
    "qwen-xml": _Shape("<tool_call>\n<function=NAME>\n", "</function>\n</tool_call>", between="\n"),
    "llama": _Shape('{"name": "NAME", "parameters": ', "}"),
    "mistral": _Shape('{"name": "NAME", "arguments": ', "}", "[TOOL_CALLS][", ", ", "]"),
    "mistral-args": _Shape("[TOOL_CALLS]NAME[ARGS]", between=""),
    "harmony": _Shape(
        "<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>", answer=HARMONY_ANSWER
    ),
    "command-r": _Shape(
        '    {\n        "tool_name": "NAME",\n        "parameters": ',
        "\n    }",
        "Action:\n```json\n[\n",
        ",\n",
        "\n]```",
    ),
    "json": _Shape('{"name": "NAME", "arguments": ', "}"),
}


_OPENS: dict[FormName, str] = {
    "hermes": "<tool_call>",
    "qwen-xml": "<tool_call>",
    "mistral": "[TOOL_CALLS]",
    "mistral-args": "[TOOL_CALLS]",
}
"""What begins a call and stands nowhere else: after it a text that may be anything is a call and no other."""
_OPEN_PARAMETER = r'open: "<parameter=" /[^<>\n]{1,64}/ ">\n" value "\n"'
"""Any parameter, as `_parameters` has one that is a text."""


def calls_grammar(
    form: ToolForm,
    tools: Sequence[Mapping[str, Any]],
    *,
    name: str | None = None,
    parallel: bool = True,
    answer: tuple[str, str | tuple[str, ...]] | None = None,
) -> str:
    """The grammar of a text that calls one of some functions, or several.

    Args:
        form: of the model.
        tools: functions that there are, as OpenAI writes them.
        name: the one that must be called; None: any.
        parallel: whether there may be several calls.
        answer: kind and value of the rule for a text that may come in their place; None: none may.

    Raises:
        ConfigError: a schema asks for what cannot be held to in this form.
    """
    shape = _SHAPES[form.name]
    functions = [one["function"] for one in tools if name in (None, one["function"]["name"])]
    start = "start: calls"
    if answer is not None:
        start += f" | {_joined(form, shape.answer)} {_answer(*answer)}"
    rules = [start, *_call_rules(form, shape, functions, parallel=parallel)]
    return "\n".join(rules) + "\n"


def strict_grammar(form: ToolForm, tools: Sequence[Mapping[str, Any]]) -> str | None:
    """The grammar of a text that may call functions, and whose calls of a strict one are valid.

    Args:
        form: of the model.
        tools: functions that there are, as OpenAI writes them.

    Returns:
        None where no function is strict, or where this form has no mark that only calls begin with: then
        nothing tells what comes from an answer until it is over.

    Raises:
        ConfigError: a strict schema asks for what cannot be held to in this form.
    """
    functions = [one["function"] for one in tools]
    mark = _OPENS.get(form.name)
    if mark is None or form.in_words or not any(one.get("strict") is True for one in functions):
        return None
    shape = _SHAPES[form.name]
    if shape.begin:
        shape = replace(shape, begin=shape.begin.removeprefix(mark))
    else:  # each call has the mark
        shape = replace(shape, before=shape.before.removeprefix(mark), between=None)
    other = f"<[{','.join(map(str, form.others))}]>"
    rules = [
        "start: (opening calls)* text",
        "text: TEXT" + f" ({other} TEXT)*" * bool(form.others),
        "TEXT: /(?s:.*)/",
    ]
    if mark in form.marks:
        rules.append(f"opening: text {_joined(form, mark)}")
    else:
        rules.append("opening: " + f"(TEXT {other})* " * bool(form.others) + "until")
        rules.append(f"until[suffix={_quoted(mark)}]: /(?s:.*)/")
    rules += _call_rules(form, shape, functions, strict_only=True)
    return "\n".join(rules) + "\n"


def _call_rules(
    form: ToolForm,
    shape: _Shape,
    functions: Sequence[Mapping[str, Any]],
    *,
    parallel: bool = True,
    strict_only: bool = False,
) -> list[str]:
    """Rules for `calls`; of those that are not strict, any arguments where only strict ones are held."""
    more = parallel and shape.between is not None
    rules = [
        _rule(
            "calls", form, shape.begin, "call", f"({_joined(form, shape.between)} call)*" * more, shape.end
        ),
        "call: " + " | ".join(f"call_{number}" for number in range(len(functions))),
    ]
    for number, function in enumerate(functions):
        is_free = strict_only and function.get("strict") is not True
        schema = {"type": "object"} if is_free else _object_schema(function)
        before = shape.before.replace("NAME", function["name"])
        if form.name != "qwen-xml":
            rules.append(f"args_{number}: %json {_schema_text(schema)}")
        elif is_free:
            rules.append(f"args_{number}: open*")
        else:
            rules += _parameters(number, function["name"], schema)
        rules.append(_rule(f"call_{number}", form, before, f"args_{number}", "", shape.after))
    if form.name == "qwen-xml":
        rules += [_VALUE, *([_OPEN_PARAMETER] if strict_only else [])]
    return rules


def _rule(name: str, form: ToolForm, before: str, middle: str, more: str, after: str) -> str:
    parts = (_joined(form, before), middle, more, _joined(form, after))
    return f"{name}: " + " ".join(part for part in parts if part)


def _answer(kind: str, rule: str | tuple[str, ...]) -> str:
    if kind == "choice":
        return " | ".join(map(_quoted, rule))
    schema = json.loads(rule) if kind == "json_schema" and isinstance(rule, str) else None
    if not isinstance(schema, dict):
        raise ConfigError(
            f"tools: a model that may call functions cannot be held to a {kind} of this kind",
            hint='a JSON schema that is an object, or tool_choice "none"',
        )
    return f"%json {_schema_text(held_schema(schema, kind))}"


def _joined(form: ToolForm, text: str | None) -> str:
    """A text as the terms of a rule: special tokens by their ids, the rest as it is."""
    if not text:
        return ""
    marks = "|".join(re.escape(mark) for mark in form.marks)
    parts = re.split(f"({marks})", text) if marks else [text]
    return " ".join(f"<[{form.marks[one]}]>" if one in form.marks else _quoted(one) for one in parts if one)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _object_schema(function: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", **function.get("parameters", {})}
    if schema["type"] != "object":
        raise ConfigError(
            f"tools: the arguments of {function['name']} are not an object (found {schema['type']!r})",
            hint='"parameters": {"type": "object", "properties": {…}}',
        )
    return held_schema(schema, f"tools: the schema of {function['name']}")


def _schema_text(schema: Mapping[str, Any]) -> str:
    guidance = {"x-guidance": {"whitespace_pattern": BLANKS}}
    return json.dumps({**schema, **guidance})


def _parameters(number: int, function: str, schema: dict[str, Any]) -> list[str]:
    """Rules for arguments that stand in marks of their own, in the order of the schema."""
    combined = next((key for key in _COMBINED if key in schema), None)
    if combined is not None:
        raise _cannot(function, f"uses {combined}")
    properties, required = schema.get("properties", {}), schema.get("required", [])
    unknown = next((key for key in required if key not in properties), None)
    if unknown is not None:
        raise _cannot(function, f"requires {unknown!r}, of which it says nothing")
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    rules, uses = [], []
    for place, (key, kind) in enumerate(properties.items()):
        if re.fullmatch(r"[^<>\n]{1,64}", key) is None:
            raise _cannot(function, f"has a property called {key!r}")
        rule = f"arg_{number}_{place}"
        value = _value(rule, kind, function)
        rules.append(f"{rule}: {_quoted(f'<parameter={key}>' + chr(10))} {value}")
        if not _is_text(kind):
            whole = {**shared, **kind} if isinstance(kind, dict) else kind
            source = _schema_text(whole) if isinstance(whole, dict) else json.dumps(whole)
            rules.append(f"{rule}_json: %json {source}")
        uses.append(rule if key in required else f"{rule}?")
    return [f"args_{number}: " + (" ".join(uses) or '""'), *rules]


def _is_text(kind: Any) -> bool:
    return isinstance(kind, dict) and kind.get("type") == "string"


def _value(rule: str, kind: Any, function: str) -> str:
    if not _is_text(kind):
        return f"{rule}_json {_END}"
    choices = [kind["const"]] if "const" in kind else kind.get("enum")
    if choices is not None:
        texts = [one for one in choices if isinstance(one, str) and "</parameter" not in one]
        return "(" + " | ".join(_quoted(one) for one in texts) + f") {_END}"
    held = next((key for key in _OF_TEXTS if key in kind), None)
    if held is not None:
        raise _cannot(function, f"holds a text to {held}")
    return r'value "\n"'


def _cannot(function: str, why: str) -> ConfigError:
    return ConfigError(
        f"tools: the schema of {function} {why}, and this model's calls cannot be held to that",
        hint='a simpler schema, or tool_choice "auto" and no "strict"',
    )
