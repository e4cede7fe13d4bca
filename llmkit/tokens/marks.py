"""Marks in the messages of a conversation, to find each again in what a template makes of them.

A mark is a number between two code points that Unicode keeps for no character (U+FDD0 to U+FDD3). It stands
inside the white space around a text, so that a template that trims does not part with it. An answer that was
thought over has one behind its thoughts too: templates cut a text there.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

Message = dict[str, Any]
_START, _END, _STOP, _THOUGHT = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3"
_MARK = re.compile(f"([{_START}{_END}{_THOUGHT}])([0-9]+){_STOP}")
_ANY = re.compile(f"[{_START}{_END}{_STOP}{_THOUGHT}]")
_AFTER_THOUGHTS = re.compile(r"</think>\s*(?=\S)")


@dataclass(frozen=True)
class Marks:
    """Where messages stand in a text, by their numbers."""

    starts: dict[int, int] = field(default_factory=dict)
    """Of the assistant's: where the text of each begins, white space left out."""
    thoughts: dict[int, int] = field(default_factory=dict)
    """Of the assistant's that end thoughts: where what comes after them begins."""
    ends: dict[int, int] = field(default_factory=dict)
    """Where the text of each ends; of an answer that calls tools, the name of the last tool."""
    spaces: dict[int, str] = field(default_factory=dict)
    """White space at the end of each text."""
    lost: list[int] = field(default_factory=list)
    """Messages that have a mark no longer."""


def mark_messages(messages: list[Message]) -> list[Message] | None:
    """The messages with a mark behind the text of each, and before it too where the assistant wrote it.

    None where they use these code points themselves.
    """
    marked = [_marked(number, message) for number, message in enumerate(messages)]
    return None if any(map(_uses_marks, messages)) else marked


def strip_marks(text: str, marked: list[Message]) -> tuple[str, Marks]:
    """A text without its marks, and where they stood. A mark that stands there twice has no place."""
    marks = Marks()
    places_of = {_START: marks.starts, _END: marks.ends, _THOUGHT: marks.thoughts}
    parts, reached, length = [], 0, 0
    seen: set[tuple[str, int]] = set()
    for found in _MARK.finditer(text):
        parts.append(text[reached : found.start()])
        length += found.start() - reached
        reached = found.end()
        which, number = found[1], int(found[2])
        if (which, number) in seen:
            places_of[which].pop(number, None)
        else:
            places_of[which][number] = length
        seen.add((which, number))
    parts.append(text[reached:])
    for number, message in enumerate(marked):
        content = text_of(message) or ""
        bare = content.rstrip()
        marks.spaces[number] = content[len(bare) :]
        put = [(which, number) for which in (_START, _END) if f"{which}{number}{_STOP}" in _said(message)]
        if not seen.issuperset(put):
            marks.lost.append(number)
    return "".join(parts), marks


def _marked(number: int, message: Message) -> Message:
    end = f"{_END}{number}{_STOP}"
    if message.get("role") != "assistant":
        return _with_text(message, "", end)
    calls = message.get("tool_calls")
    start = f"{_START}{number}{_STOP}"
    if not isinstance(calls, list) or not calls:
        thought = f"{_THOUGHT}{number}{_STOP}"
        return _with_text(message, start, end, thought)
    return _with_text(message, start, "") | {"tool_calls": [*calls[:-1], _with_name(calls[-1], end)]}


def _with_text(message: Message, before: str, after: str, thought: str = "") -> Message:
    """A message with something around its text, inside the white space, and behind the last of its thoughts.

    One without text is as it was.
    """
    text = text_of(message)
    core = (text or "").strip()
    if text is None or not core:
        return message
    begin = len(text) - len(text.lstrip())
    rest = text[begin + len(core) :]
    thoughts = list(_AFTER_THOUGHTS.finditer(core)) if thought and "</think>" in core else []
    if thoughts:
        core = core[: thoughts[-1].end()] + thought + core[thoughts[-1].end() :]
    text = text[:begin] + before + core + after + rest
    content = message["content"]
    if isinstance(content, str):
        return message | {"content": text}
    return message | {"content": [*content[:-1], content[-1] | {"text": text}]}


def _with_name(call: Any, after: str) -> Any:
    """A tool call with something after the name of its function."""
    inner = call.get("function") if isinstance(call, dict) else None
    if isinstance(inner, dict) and isinstance(inner.get("name"), str):
        return call | {"function": inner | {"name": inner["name"] + after}}
    if isinstance(call, dict) and isinstance(call.get("name"), str):
        return call | {"name": call["name"] + after}
    return call


def text_of(message: Message) -> str | None:
    """The text of a message, or the last of its parts."""
    content = message.get("content")
    if isinstance(content, list) and content and isinstance(content[-1], dict):
        content = content[-1].get("text")
    return content if isinstance(content, str) else None


def _said(message: Message) -> str:
    """All strings in which a mark may stand."""
    calls = message.get("tool_calls")
    last = calls[-1] if isinstance(calls, list) and calls else {}
    inner = last.get("function", last) if isinstance(last, dict) else {}
    name = inner.get("name") if isinstance(inner, dict) else None
    return f"{text_of(message) or ''}{name or ''}"


def _uses_marks(message: Message) -> bool:
    return _ANY.search(msgspec.json.encode(message).decode()) is not None
