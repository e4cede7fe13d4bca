"""Grammars under which a text is calls of functions, each valid under its schema, in a model's own form.

They are llguidance's dialect of Lark: a rule for each function, its arguments by `%json`.
Source: llguidance, docs/syntax.md.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmkit.errors import ConfigError
from llmkit.tokens.json_schema import BLANKS, held_schema
from llmkit.tokens.tools.forms import ToolForm
from llmkit.tokens.tools.written import ARGUMENTS, OPENS, SHAPES, Argument, Shape

_COMBINED = ("anyOf", "oneOf", "allOf", "not", "if", "$ref", "patternProperties", "minProperties")
_OF_TEXTS = ("pattern", "format", "minLength", "maxLength", "not", "anyOf", "oneOf", "allOf", "$ref")


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
    shape = SHAPES[form.name]
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
    mark = OPENS.get(form.name)
    if mark is None or form.in_words or not any(one.get("strict") is True for one in functions):
        return None
    shape = SHAPES[form.name]
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
    shape: Shape,
    functions: Sequence[Mapping[str, Any]],
    *,
    parallel: bool = True,
    strict_only: bool = False,
) -> list[str]:
    """Rules for `calls`; of those that are not strict, any arguments where only strict ones are held."""
    more = parallel and shape.between is not None
    argument = ARGUMENTS.get(form.name)
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
        if argument is None:
            rules.append(f"args_{number}: %json {_schema_text(schema)}")
        elif is_free:
            rules.append(f"args_{number}: open*")
        else:
            rules += _parameters(form, argument, number, function["name"], schema)
        rules.append(_rule(f"call_{number}", form, before, f"args_{number}", "", shape.after))
    if argument is not None:
        rules += [_text_value(form, argument), *([_open_argument(form, argument)] if strict_only else [])]
    return rules


def _text_value(form: ToolForm, argument: Argument) -> str:
    """The rule for a value that is a text, and its end mark."""
    mark = argument.after.strip()
    if mark in form.marks:  # a special token, which no text has in it
        return f"value: TEXT_VALUE {_joined(form, mark)}\nTEXT_VALUE: /{argument.value}/"
    return f"value[suffix={_quoted(argument.after.removesuffix(chr(10)))}]: /{argument.value}/"


def _open_argument(form: ToolForm, argument: Argument) -> str:
    """The rule for any argument, as `_parameters` has one that is a text."""
    before, after = (_joined(form, one) for one in argument.before.split("KEY"))
    return f'open: {before} /[^<>"\\n]{{1,64}}/ {after} value "\\n"'


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


def _parameters(
    form: ToolForm, argument: Argument, number: int, function: str, schema: dict[str, Any]
) -> list[str]:
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
        if re.fullmatch(r'[^<>"\n]{1,64}', key) is None:
            raise _cannot(function, f"has a property called {key!r}")
        rule = f"arg_{number}_{place}"
        before = _joined(form, argument.before.replace("KEY", key))
        rules.append(f"{rule}: {before} {_value(form, argument, rule, kind, function)}")
        if not _is_text(kind):
            whole = {**shared, **kind} if isinstance(kind, dict) else kind
            source = _schema_text(whole) if isinstance(whole, dict) else json.dumps(whole)
            rules.append(f"{rule}_json: %json {source}")
        uses.append(rule if key in required else f"{rule}?")
    return [f"args_{number}: " + (" ".join(uses) or '""'), *rules]


def _is_text(kind: Any) -> bool:
    return isinstance(kind, dict) and kind.get("type") == "string"


def _value(form: ToolForm, argument: Argument, rule: str, kind: Any, function: str) -> str:
    end = _joined(form, argument.after)
    if not _is_text(kind):
        return f"{rule}_json {end}"
    choices = [kind["const"]] if "const" in kind else kind.get("enum")
    if choices is not None:
        texts = [one for one in choices if isinstance(one, str) and argument.after.strip() not in one]
        return "(" + " | ".join(_quoted(one) for one in texts) + f") {end}"
    held = next((key for key in _OF_TEXTS if key in kind), None)
    if held is not None:
        raise _cannot(function, f"holds a text to {held}")
    return r'value "\n"'


def _cannot(function: str, why: str) -> ConfigError:
    return ConfigError(
        f"tools: the schema of {function} {why}, and this model's calls cannot be held to that",
        hint='a simpler schema, or tool_choice "auto" and no "strict"',
    )
