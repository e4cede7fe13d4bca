"""Earlier calls and their results as a chat template takes them: each template's own wants, found by trying.

Some want arguments as a text, some as an object; some want no content beside calls, some an empty one, and
gpt-oss's none beside calls and thoughts; some want ids of nine letters. A template that shows no tools at all
gets them in words.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from llmkit.errors import LlmkitError
from llmkit.tokens.chat import REASONING, render_chat
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.call_ids import nine_letters, numbered

Message = dict[str, Any]
_SIGNS = {"name": "trial_tool", "value": "trial value", "result": "trial result", "about": "trial words"}
_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": _SIGNS["name"],
        "description": _SIGNS["about"],
        "parameters": {
            "type": "object",
            "properties": {"text": {"type": "string", "description": "a text"}},
            "required": ["text"],
        },
    },
}
_PLACES = "_llmkit_places"
"""Of a message, while `told_from` works: the numbers of those that it was made of."""
_ASKED = """\
You can call these functions:
{tools}

To call one, answer with nothing but JSON: {{"name": its name, "arguments": {{…}}}}, or a list of such
objects to call several. Their results come in the next message.
Where no function is needed, answer in words."""


@dataclass(frozen=True)
class ToolTurns:
    """How a template takes tools."""

    shows_tools: bool
    """Whether it says which functions there are."""
    shows_calls: bool
    """Whether earlier calls and their results are shown, to a conversation that has tools at least."""
    arguments_as_text: bool = False
    empty_content: bool = True
    """Whether a message of calls has an empty content, else none."""
    one_call: bool = False
    """Whether a message may have only one call."""
    nine_letters: bool = False
    """Whether ids of calls must have nine letters."""
    numbered: bool = False
    """Whether they must be functions.NAME:NUMBER, as all that is shown of a call's name."""
    takes_system: bool = True
    needs_descriptions: bool = False
    """Whether it refuses a function or an argument that says nothing of itself."""
    thoughts_or_text: bool = False
    """Whether a message of calls may have thoughts or a text, not both."""
    calls_with_tools: bool = False
    """Whether earlier calls are shown only where functions are: by a template of their own."""

    def told(
        self, messages: Sequence[Message], tools: Sequence[Message] | None
    ) -> tuple[list[Message], list[Message] | None]:
        """Messages and tools as they are rendered.

        Args:
            messages: as OpenAI writes them, arguments as objects.
            tools: functions that the model may call.
        """
        messages = numbered(messages) if self.numbered else messages
        apart = _apart(messages) if self.one_call else messages
        shows_calls = self.shows_calls and (not self.calls_with_tools or bool(tools))
        shown = [self._shown(one) for one in apart] if shows_calls else _in_words(messages)
        if not tools or self.shows_tools:
            given = [_described(one) if self.needs_descriptions else one for one in tools or ()]
            return shown, given or None
        return self._asked(shown, tools), None

    def told_from(
        self, messages: Sequence[Message], tools: Sequence[Message] | None
    ) -> tuple[list[Message], list[Message] | None, list[tuple[int, ...]]]:
        """`told`, and for each message the numbers of those that it was made of."""
        numbered = [{**one, _PLACES: (number,)} for number, one in enumerate(messages)]
        shown, given = self.told(numbered, tools)
        places = [one.get(_PLACES, ()) for one in shown]
        bare = [{key: value for key, value in one.items() if key != _PLACES} for one in shown]
        return bare, given, places

    def _shown(self, message: Message) -> Message:
        message = dict(message)
        if self.nine_letters and isinstance(message.get("tool_call_id"), str):
            message["tool_call_id"] = nine_letters(message["tool_call_id"])
        if not message.get("tool_calls"):
            return message
        message["tool_calls"] = [self._call(one, number) for number, one in enumerate(message["tool_calls"])]
        if self.thoughts_or_text and message.get("content"):
            message = _text_as_thought(message)
        if not message.get("content") and not self.empty_content:
            message["content"] = None
        return message

    def _call(self, call: Message, number: int) -> Message:
        function = dict(call["function"])
        if self.arguments_as_text:
            function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
        if self.nine_letters:
            call = {**call, "id": nine_letters(call.get("id") or f"call {number}")}
        return {**call, "function": function}

    def _asked(self, messages: list[Message], tools: Sequence[Message]) -> list[Message]:
        """The conversation with its tools in words, before everything else."""
        lines = "\n".join(json.dumps(one["function"], ensure_ascii=False) for one in tools)
        words = _ASKED.format(tools=lines)
        first = messages[0] if messages else {"role": "system", "content": ""}
        if first["role"] == "system" or (first["role"] == "user" and not self.takes_system):
            content = f"{words}\n\n{first['content']}" if first["content"] else words
            return [{**first, "content": content}, *messages[1:]]
        return [{"role": "system" if self.takes_system else "user", "content": words}, *messages]


def tool_turns(tokenizer: Tokenizer) -> ToolTurns:
    """How the template of a tokenizer takes tools; without a template it takes none."""
    shows_tools = _SIGNS["name"] in _seen(tokenizer, [_user("hello")], [_TOOL])
    bare: Message = {"name": _SIGNS["name"]}
    bare["parameters"] = {"type": "object", "properties": {"text": {"type": "string"}}}
    plain = [{"type": "function", "function": bare}]
    needs = _SIGNS["name"] not in _seen(tokenizer, [_user("hello")], plain)
    system = {"role": "system", "content": _SIGNS["about"]}
    takes_system = _SIGNS["about"] in _seen(tokenizer, [system, _user("hello")])
    for ids, as_text, empty in product(("any", "nine", "numbered"), (False, True), (True, False)):
        turns = ToolTurns(
            shows_tools,
            True,
            arguments_as_text=as_text,
            empty_content=empty,
            nine_letters=ids == "nine",
            numbered=ids == "numbered",
            takes_system=takes_system,
            needs_descriptions=needs,
        )
        if _shows_calls(tokenizer.for_tools, turns, 1):
            one_call = not _shows_calls(tokenizer.for_tools, turns, 2)
            apart = not _shows_calls(tokenizer, turns, 1)
            text, thought = ({name: _SIGNS["about"]} for name in ("content", "reasoning_content"))
            takes_text = _shows_calls(tokenizer.for_tools, turns, 1, text)
            either = takes_text and not _shows_calls(tokenizer.for_tools, turns, 1, text | thought)
            return replace(turns, one_call=one_call, calls_with_tools=apart, thoughts_or_text=either)
    return ToolTurns(shows_tools, False, takes_system=takes_system, needs_descriptions=needs)


def _described(tool: Message) -> Message:
    """A function that says something, if nothing, of itself and of each argument."""
    function = {"description": "", **tool["function"]}
    parameters = dict(function.get("parameters", {}))
    if isinstance(parameters.get("properties"), dict):
        parameters["properties"] = {
            key: {"description": "", **one} if isinstance(one, dict) else one
            for key, one in parameters["properties"].items()
        }
    return {**tool, "function": {**function, "parameters": parameters}}


def has_tools(messages: Sequence[Message], tools: Sequence[Message] | None) -> bool:
    """Whether anything in a conversation has to do with tools."""
    return bool(tools) or any(one.get("tool_calls") or one["role"] == "tool" for one in messages)


def _text_as_thought(message: Message) -> Message:
    """A message whose text, if it has thoughts too, is the last of them."""
    thought = _thought(message)
    if not thought:
        return message
    rest = {key: value for key, value in message.items() if key not in REASONING}
    return {**rest, "content": "", "reasoning_content": f"{thought}\n{message['content']}"}


def _thought(message: Message) -> str:
    """What a message's author thought, by whatever name it has; nothing where that is not told."""
    return next((message[name] for name in REASONING if message.get(name)), "")


def _shows_calls(
    tokenizer: Tokenizer, turns: ToolTurns, count: int, beside: Mapping[str, str] | None = None
) -> bool:
    """Whether so many calls in one message, and their results, come out.

    Args:
        tokenizer: has the template.
        turns: how it is told of them.
        count: of calls.
        beside: what else the message has.
    """
    calls, results, signs = [], [], {_SIGNS["name"]}
    for number in range(count):  # each with words of its own: gpt-oss's template shows the first and no other
        value, result = (f"{_SIGNS[name]} {number}" for name in ("value", "result"))
        function = {"name": _SIGNS["name"], "arguments": {"text": value}}
        one = f"call_0123456789abcdef{number}"
        calls.append({"type": "function", "id": one, "function": function})
        results.append({"role": "tool", "content": result, "tool_call_id": one})
        signs |= {value, result}
    asked = {"role": "assistant", "content": "", **(beside or {}), "tool_calls": calls}
    told, _ = turns.told([_user("hello"), asked, *results], None)
    return signs <= _seen(tokenizer, told, signs=signs)


def _apart(messages: Sequence[Message]) -> list[Message]:
    """Messages of several calls as messages of one, each before its result."""
    told: list[Message] = []
    todo = list(messages)
    while todo:
        message = todo.pop(0)
        calls = message.get("tool_calls") or ()
        if len(calls) < 2:
            told.append(message)
            continue
        results: list[Message] = []
        while todo and todo[0]["role"] == "tool":
            results.append(todo.pop(0))
        for number, call in enumerate(calls):
            content = "" if number else message.get("content")
            told.append({**message, "content": content, "tool_calls": [call]})
            named = [one for one in results if "id" in call and one.get("tool_call_id") == call["id"]]
            mine = named or results[:1]
            told += mine
            results = [one for one in results if one not in mine]
        told += results
    return told


def _seen(
    tokenizer: Tokenizer,
    messages: list[Message],
    tools: list[Message] | None = None,
    signs: Collection[str] = tuple(_SIGNS.values()),
) -> set[str]:
    """Which of the trial's words a template writes; none where it refuses them."""
    try:
        text = render_chat(tokenizer, messages, tools=tools, add_generation_prompt=True)
    except LlmkitError:
        return set()
    return {sign for sign in signs if sign in text}


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


def _in_words(messages: Sequence[Message]) -> list[Message]:
    """Calls as the assistant's text and results as the user's; turns of one role become one turn."""
    if not has_tools(messages, None):
        return list(messages)
    told: list[Message] = []
    names: dict[str, str] = {}
    for message in messages:
        role, content = message["role"], message.get("content") or ""
        calls = [one["function"] for one in message.get("tool_calls", ())]
        names |= {one["id"]: one["function"]["name"] for one in message.get("tool_calls", ()) if "id" in one}
        if calls:
            plain = [{"name": one["name"], "arguments": one["arguments"]} for one in calls]
            text = json.dumps(plain[0] if len(plain) == 1 else plain, ensure_ascii=False)
            content = f"{content}\n{text}" if content else text
        if role == "tool":
            name = names.get(message.get("tool_call_id", ""))
            role, content = "user", f"Result of {name or 'the function'}: {content}"
        places = message.get(_PLACES, ())
        thoughts = [_thought(message)]
        if told and told[-1]["role"] == role and role != "system":
            before = told.pop()
            thoughts = [_thought(before), *thoughts]
            content, places = f"{before['content']}\n\n{content}", (*before.get(_PLACES, ()), *places)
        thought = {"reasoning_content": "\n".join(filter(None, thoughts))} if any(thoughts) else {}
        told.append({"role": role, "content": content} | thought | ({_PLACES: places} if places else {}))
    return told
