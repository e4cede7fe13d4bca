"""Pieces of calls, read a character at a time: names, marked ends, the extent of JSON; see tools/calls.py."""

import re
from collections.abc import Collection, Generator

from llmkit.tokens.tools.calls import NotACall

Reading = Generator[None, str, str]
"""Takes characters and returns a text."""
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What a function may be called, as OpenAI has it, and a dot."""
MOST_HEADER = 256
"""Characters of what stands before arguments."""
_MOST_DEPTH = 64


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
