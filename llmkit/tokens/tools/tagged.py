"""Calls whose arguments stand in marks of their own, one by one: Qwen3-Coder, Seed-OSS, MiniMax-M2, GLM-4.5.

Only the schema tells a value that is a text from a number, a list or an object.
"""

import ast
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from llmkit.tokens.tools.calls import Body, FoundCall, NotACall
from llmkit.tokens.tools.json_calls import calls_in, dumps, loads
from llmkit.tokens.tools.reading import MOST_HEADER, Reading, expect, first_char, json_text, named, until


@dataclass(frozen=True)
class Tags:
    """The marks of one form; between them blanks do not count."""

    name: tuple[str, str]
    """Before and after the function's name."""
    key: tuple[str, str]
    """Before and after an argument's."""
    value_end: str
    end: str
    """Of the call."""
    value: str = ""
    """Between a key and its value, where that is a mark of its own."""
    on_lines: bool = False
    """Whether the template writes a value on lines of its own."""


_PARAMETER = ("<parameter=", ">")
QWEN = Tags(("<function=", ">"), _PARAMETER, "</parameter>", "</function>", on_lines=True)
SEED = Tags(("<function=", ">"), _PARAMETER, "</parameter>", "</function>")
MINIMAX = Tags(('<invoke name="', '">'), ('<parameter name="', '">'), "</parameter>", "</invoke>")
GLM = Tags(("", "<"), ("<arg_key>", "</arg_key>"), "</arg_value>", "</tool_call>", "<arg_value>")
"""Behind its name comes the next mark."""


def tagged_body(tags: Tags, schemas: Mapping[str, Any], *, opened: bool = False) -> Body:
    """One call.

    Args:
        tags: the marks of the form.
        schemas: of the arguments, by function: they say which values are texts.
        opened: whether what stands before a name was the opening mark.
    """
    before, after = tags.name
    begun = "" if opened else (yield from first_char())
    if begun == "{":  # as JSON after all
        return calls_in((yield from json_text(begun)))
    if before and begun:
        if begun != before[0]:
            raise NotACall
        yield from expect(before[1:])
        begun = ""
    name = named((yield from until(after, begun=begun, most=MOST_HEADER)))
    properties = schemas.get(name, {}).get("properties", {})
    arguments: dict[str, Any] = {}
    mark = after if after == "<" else (yield from first_char())
    while mark == "<":
        key = yield from _key(tags)
        if key is None:
            loads(text := dumps(arguments))
            return (FoundCall(name, text),)
        arguments[key] = typed((yield from _value(tags)), properties.get(key))
        mark = yield from first_char()
    raise NotACall


def _key(tags: Tags) -> Generator[None, str, str | None]:
    """The name of the next argument, up to its value; None where the call ends."""
    tag = "<" + (yield from until(">", most=MOST_HEADER)) + ">"
    before, after = tags.key
    if tag == tags.end:
        return None
    if tag == before:
        key = yield from until(after, most=MOST_HEADER)
    elif tag.startswith(before) and tag.endswith(after):
        key = tag[len(before) : -len(after)]
    else:
        raise NotACall
    if tags.value:
        if (yield from first_char()) != tags.value[0]:
            raise NotACall
        yield from expect(tags.value[1:])
    return key


def _value(tags: Tags) -> Reading:
    """A value as it stands; of a form on lines, without the ends of lines around it."""
    if not tags.on_lines:
        return (yield from until(tags.value_end))
    char = yield
    if char == "\n":
        return (yield from until(f"\n{tags.value_end}", begun=char)).removeprefix("\n")
    return (yield from until(tags.value_end, begun=char)).removesuffix("\n")


def typed(text: str, schema: Any) -> Any:
    """What a text stands for by the schema: JSON, maybe as Python spells it, or the text itself."""
    kinds = _kinds(schema)
    if kinds == {"string"}:
        return text
    value = _read(text, loose=bool(kinds) and "string" not in kinds)
    if "number" in kinds:
        kinds.add("integer")
    may_be_text = "string" in kinds and (isinstance(value, str) or _kind(value) not in kinds)
    return text if may_be_text else value


def _read(text: str, *, loose: bool) -> Any:
    try:
        return loads(text)
    except NotACall:
        pass
    try:  # True, None, {'a': 1}: templates that write arguments as Python does teach models to
        return loads(dumps(ast.literal_eval(text.strip()))) if loose else text
    except (NotACall, ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text


def _kinds(schema: Any) -> set[str]:
    """JSON's names of what a schema allows; none where it does not say."""
    if not isinstance(schema, dict):
        return set()
    if "const" in schema or isinstance(schema.get("enum"), list):
        return {_kind(one) for one in schema.get("enum", [schema.get("const")])}
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            found = [_kinds(one) for one in schema[key]]
            return set().union(*found) if all(found) else set()
    kinds = schema.get("type", [])
    return {kinds} if isinstance(kinds, str) else {str(one) for one in kinds}


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"
