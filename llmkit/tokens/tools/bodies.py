"""What stands inside calls, in the form of each family; see tools/forms.py for the marks around it."""

import re
from collections.abc import Collection

from llmkit.tokens.tools.calls import Body, FoundCall, NotACall, TextEnded
from llmkit.tokens.tools.json_calls import arguments_of, calls_in, loads
from llmkit.tokens.tools.reading import MOST_HEADER, expect, first_char, json_text, named, until

HARMONY_MARKS = (
    *("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>"),
    *("<|end|>", "<|call|>", "<|return|>"),
)
"""Special tokens of the harmony format."""
HARMONY_SIGNS = ("<|channel|>", "<|message|>")
"""Those of them that its templates have."""
HARMONY_ANSWER = "<|channel|>final<|message|>"
"""The header of an answer in it."""
DEEPSEEK_MARKS = (
    *("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>"),
    *("<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"),
)
KIMI_MARKS = (
    *("<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>"),
    *("<|tool_call_end|>", "<|tool_calls_section_end|>"),
)
"""Around all calls, before one, before its arguments, after one, after all."""
_CALL_KEYS = ("name", "tool_name", "arguments", "parameters", "type", "function", "id")


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
        if len(name) > MOST_HEADER:
            raise NotACall
        char = yield None
    while char == "[":
        mark = yield from until("]", most=MOST_HEADER)
        if mark == "CALL_ID":
            yield from until("[", most=MOST_HEADER)
            char = "["
        elif mark == "ARGS":
            char = yield from first_char()
            break
        else:
            raise NotACall
    arguments = arguments_of(loads((yield from json_text(char))))
    return (FoundCall(named("".join(name)), arguments),)


def deepseek_body() -> Body:
    """A name, a mark, arguments (V3.1), or a type, a mark, a name, arguments in a code block (V3)."""
    header = yield from until(DEEPSEEK_MARKS[2], most=MOST_HEADER)
    char = yield from first_char()
    if char != "{":  # what came first was the type
        header = yield from until("\n", begun=char, most=MOST_HEADER)
        char = yield from first_char()
    if char == "`":
        yield from expect("``json")
        char = yield from first_char()
    arguments = arguments_of(loads((yield from json_text(char))))
    return (FoundCall(named(header), arguments),)


def kimi_body() -> Body:
    """After `<|tool_call_begin|>`: `functions.NAME:` and the call's number, a mark, arguments."""
    header = yield from until(KIMI_MARKS[2], most=MOST_HEADER)
    name = header.strip().removeprefix("functions.").rpartition(":")
    arguments = arguments_of(loads((yield from json_text((yield from first_char())))))
    return (FoundCall(named(name[0] or name[2]), arguments),)


def harmony_body(*, calls: bool = True, begun: str = "") -> Body:
    """A message of the harmony format from its header on: what the assistant thinks is thought, what it says
    comes out, and what it says to a function is a call.

    Source: openai/harmony, docs/format.md.

    Args:
        calls: whether there are functions to call; else what is said to one comes out as it stands.
        begun: what the header begins with, where that was the opening mark.
    """
    header = begun + (yield from until("<|message|>", most=MOST_HEADER))
    to = re.search(r"to=functions\.([A-Za-z0-9_.-]+)", header)
    if to is not None:
        if not calls:
            raise NotACall
        text = yield from json_text((yield from first_char()))
        return (FoundCall(named(to[1]), arguments_of(loads(text))),)
    if re.search(r"(^|<\|channel\|>)analysis\b", header):
        yield from thought_body("<|end|>")
    return ()


def nothing() -> Body:
    """A mark that is no text."""
    return ()
    yield


def thought_body(end: str) -> Body:
    """What is thought, up to its end mark or the end of the text, without the blanks around it.

    Args:
        end: the mark.
    """
    thought, held = "", ""  # held: blanks, and what may become the mark
    has_begun = False
    while True:
        try:
            held += yield thought
        except TextEnded:
            yield held.rstrip()
            return ()
        if held.endswith(end):
            return ()
        held = held if has_begun else held.lstrip()
        mark = next(size for size in range(len(end) - 1, -1, -1) if held.endswith(end[:size]))
        thought = held[: len(held) - mark].rstrip()
        held = held[len(thought) :]
        has_begun = has_begun or bool(thought)
