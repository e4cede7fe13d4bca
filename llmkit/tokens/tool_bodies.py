"""What stands inside calls, read a character at a time: JSON, names, marked ends; see tool_calls.py."""

import json
import math
import re
from collections.abc import Collection, Generator, Mapping
from typing import Any

from llmkit.tokens.tool_calls import Body, FoundCall, NotACall, TextEnded

Reading = Generator[None, str, str]
"""Takes characters and returns a text."""
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What a function may be called, as OpenAI has it, and a dot."""
_CALL_KEYS = ("name", "tool_name", "arguments", "parameters", "type", "function", "id")
_MOST_HEADER = 256
_MOST_DEPTH = 64


def json_body(*, begun: str = "", names: Collection[str] | None = None, before: str = "") -> Body:
    """A call, or a list of them, as JSON.

    Args:
        begun: its first bracket, where that was the opening mark.
        names: functions that there are; any other is no call, nor is an object that looks unlike one: JSON
            without a mark around it may be an answer. None: what stands inside marks is a call.
        before: may stand before the bracket.
    """
    char = begun or (yield from first_char())
    if before and char == before[0]:
        yield from expect(before[1:])
        char = yield from first_char()
    text = yield from json_text(char, first_keys=None if names is None else _CALL_KEYS)
    return calls_in(text, names)


def first_char() -> Reading:
    """The next character that is no blank."""
    char = yield
    while char.isspace():
        char = yield
    return char


def expect(text: str) -> Reading:
    """This text."""
    for wanted in text:
        if (yield) != wanted:
            raise NotACall
    return text


def until(end: str, *, begun: str = "", most: int | None = None) -> Reading:
    """Everything before `end`, which is taken too.

    Args:
        end: what ends it.
        begun: its first character, where that was read already.
        most: characters that it may have.
    """
    chars = list(begun)
    while True:
        chars.append((yield))
        if chars[-1] == end[-1] and "".join(chars[-len(end) :]) == end:
            return "".join(chars[: -len(end)])
        if most is not None and len(chars) > most + len(end):
            raise NotACall


def name_until(end: str) -> Reading:
    """The name of a function, up to `end`."""
    return named((yield from until(end, most=_MOST_HEADER)))


def named(text: str) -> str:
    """A name that a function may have."""
    if NAME.fullmatch(text.strip()) is None:
        raise NotACall
    return text.strip()


def json_text(begun: str, *, first_keys: Collection[str] | None = None) -> Reading:
    """An object or a list of JSON, to its last bracket; that it is JSON is for `loads` to say.

    Args:
        begun: its first bracket.
        first_keys: of which its first key is one.
    """
    if begun not in ("{", "["):
        raise NotACall
    chars, depth, quoted, escaped = [begun], 1, -1, False
    while depth:
        char = yield
        chars.append(char)
        if quoted >= 0:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                if first_keys is not None and "".join(chars[quoted:-1]) not in first_keys:
                    raise NotACall
                first_keys, quoted = None, -1
        elif char == '"':
            quoted = len(chars)
        elif char in "{[":
            depth += 1
            if depth > _MOST_DEPTH:
                raise NotACall
        elif char in "}]":
            depth -= 1
        elif first_keys is not None and not char.isspace():
            raise NotACall
    return "".join(chars)


def calls_in(text: str, names: Collection[str] | None = None) -> tuple[FoundCall, ...]:
    """The calls that a value of JSON is.

    Args:
        text: JSON.
        names: as for `json_body`.

    Raises:
        NotACall: it is none.
    """
    value = loads(text)
    items = value if isinstance(value, list) else [value]
    if not items:
        raise NotACall
    return tuple(_call(one, names) for one in items)


def loads(text: str) -> Any:
    """A value of JSON that can be written as JSON again.

    Raises:
        NotACall: it is none.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be sent
    except (ValueError, RecursionError):
        raise NotACall from None
    return value


def dumps(value: Any) -> str:
    """JSON as it is told."""
    return json.dumps(value, ensure_ascii=False)


def arguments_of(value: Any) -> str:
    """Arguments as they are told: an object; a text in their place is read as JSON.

    Raises:
        NotACall: they are no object.
    """
    if isinstance(value, str):
        value = loads(value)
    if not isinstance(value, dict):
        raise NotACall
    return dumps(value)


def _call(value: Any, names: Collection[str] | None) -> FoundCall:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    match value:
        case {"name": str() as name} | {"tool_name": str() as name}:
            given = [value[key] for key in ("arguments", "parameters") if key in value]
        case _:
            raise NotACall
    if names is not None and (name not in names or not given):
        raise NotACall
    return FoundCall(named(name), arguments_of(given[0] if given else {}))


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _finite(text: str) -> float:
    if math.isinf(value := float(text)):
        raise ValueError(text)
    return value


def mistral_body() -> Body:
    """After `[TOOL_CALLS]`: a list of calls, or a name, maybe `[CALL_ID]` and an id, `[ARGS]`, arguments.

    Source: mistral-common, tokens/tokenizers/instruct.py (tokenizers v3, v11 and v13).
    """
    char = yield from first_char()
    if char in "[{":
        return calls_in((yield from json_text(char)))
    name = []
    while char not in "[{":
        name.append(char)
        if len(name) > _MOST_HEADER:
            raise NotACall
        char = yield
    while char == "[":
        mark = yield from until("]", most=_MOST_HEADER)
        if mark == "CALL_ID":
            yield from until("[", most=_MOST_HEADER)
            char = "["
        elif mark == "ARGS":
            char = yield from first_char()
            break
        else:
            raise NotACall
    arguments = arguments_of(loads((yield from json_text(char))))
    return (FoundCall(named("".join(name)), arguments),)


def xml_body(schemas: Mapping[str, Any], *, opened: bool) -> Body:
    """Qwen3-Coder's: `<function=NAME>`, `<parameter=KEY>` value `</parameter>`, …, `</function>`.

    Args:
        schemas: of the arguments, by function: they say which values are texts.
        opened: whether `<function=` was the opening mark.
    """
    if not opened:
        char = yield from first_char()
        if char == "{":
            return calls_in((yield from json_text(char)))
        if char != "<":
            raise NotACall
        yield from expect("function=")
    name = yield from name_until(">")
    properties = schemas.get(name, {}).get("properties", {})
    arguments: dict[str, Any] = {}
    while True:
        if (yield from first_char()) != "<":
            raise NotACall
        tag = yield from until(">", most=_MOST_HEADER)
        if tag == "/function":
            loads(text := dumps(arguments))
            return (FoundCall(name, text),)
        if not tag.startswith("parameter="):
            raise NotACall
        key = tag.removeprefix("parameter=")
        arguments[key] = _typed((yield from _value()), properties.get(key))


def _value() -> Reading:
    """The value of a parameter: on lines of its own, as the template writes it, or between its marks."""
    char = yield
    if char == "\n":
        return (yield from until("\n</parameter>", begun=char)).removeprefix("\n")
    return (yield from until("</parameter>", begun=char)).removesuffix("\n")


def _typed(text: str, schema: Any) -> Any:
    """A value, which only a schema tells from a text."""
    if isinstance(schema, dict) and schema.get("type") == "string":
        return text
    try:
        return loads(text)
    except NotACall:
        return text


def harmony_body() -> Body:
    """A message of the harmony format from its header on: what the assistant thinks is hidden, what it says
    comes out, and what it says to a function is a call.

    Source: openai/harmony, docs/format.md.
    """
    header = yield from until("<|message|>", most=_MOST_HEADER)
    to = re.search(r"to=functions\.([A-Za-z0-9_.-]+)", header)
    if to is not None:
        text = yield from json_text((yield from first_char()))
        return (FoundCall(named(to[1]), arguments_of(loads(text))),)
    if re.search(r"(^|<\|channel\|>)analysis\b", header):
        yield from _thoughts()
    return ()


def nothing() -> Body:
    """A mark that is no text."""
    return ()
    yield


def _thoughts() -> Generator[None, str, None]:
    try:
        yield from until("<|end|>")
    except TextEnded:
        return
