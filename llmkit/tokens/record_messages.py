"""The messages of fine-tuning records, in each of the ways that data sets write them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from llmkit.formats.jsonl import MALFORMED, Line, decode_field
from llmkit.tokens.audit import ExampleError
from llmkit.tokens.content_parts import joined_parts

Message = dict[str, Any]

ROLES = frozenset(
    ("system", "developer", "user", "assistant", "tool", "tool_results", "function", "ipython", "observation")
)
_SHAREGPT_ROLES = {
    **{"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"},
    **{"assistant": "assistant", "model": "assistant", "system": "system", "tool": "tool"},
    **{"observation": "tool", "function_response": "tool", "function_call": "assistant"},
}
_MARKS = ("weight", "train", "training")
"""Keys of a message that say whether it is learnt."""


def read_messages(line: Line, key: str) -> list[Message]:
    """The messages at a key of a record: a list or a single one, of {"role", "content"} or {"from", "value"}.

    Raises:
        DataError: there is something else at the key.
        ExampleError: a message has no role or one that nobody knows, or calls a function in no JSON.
    """
    if bytes(line.record[key]).startswith(b"{"):
        said = [decode_field(line, key, dict[str, Any])]
    else:
        said = decode_field(line, key, list[dict[str, Any]])
    if said and "role" not in said[0] and "from" in said[0]:
        return [_turn(key, number, one) for number, one in enumerate(said)]
    return [_message(key, number, one) for number, one in enumerate(said)]


def _message(key: str, number: int, message: Message) -> Message:
    role = message.get("role")
    if not isinstance(role, str):
        raise ExampleError(
            "record.shape",
            f'"{key}": message {number} has no role (found: {", ".join(message)})',
            hint='{"role": "user", "content": "…"}',
        )
    if role not in ROLES:
        raise ExampleError(
            "role.unknown",
            f'message {number} has the role "{role}"',
            hint=f"roles: {', '.join(sorted(ROLES))}",
        )
    return {**message, "content": joined_parts(message["content"])} if "content" in message else message


def _turn(key: str, number: int, turn: dict[str, Any]) -> Message:
    """A turn of ShareGPT as a message."""
    who = turn.get("from")
    if who not in _SHAREGPT_ROLES:
        raise ExampleError(
            "role.unknown",
            f'{key}: turn {number} is from "{who}"',
            hint=f"from: {', '.join(sorted(_SHAREGPT_ROLES))}",
        )
    said = _calls(key, number, turn) if who == "function_call" else {"content": turn.get("value")}
    marks = {key: turn[key] for key in _MARKS if key in turn}
    return {"role": _SHAREGPT_ROLES[who], **said, **marks}


def is_left_out(message: Message) -> bool:
    """Whether an answer is not to be learnt: a weight of 0 in files for OpenAI, train false in axolotl's."""
    weight, *told = map(message.get, _MARKS)
    return weight == 0 or False in told


def _calls(key: str, number: int, turn: dict[str, Any]) -> dict[str, Any]:
    """What a turn from LLaMA-Factory's `function_call` says: a call or a list of them, as JSON in a text."""
    try:
        value = msgspec.json.decode(str(turn.get("value")))
        calls = msgspec.convert(value if isinstance(value, list) else [value], list[dict[str, Any]])
    except MALFORMED as error:
        raise ExampleError(
            "record.shape",
            f"{key}: turn {number} calls a function in no JSON ({error})",
            hint='"value": "{\\"name\\": \\"f\\", \\"arguments\\": {}}"',
        ) from None
    return {"content": "", "tool_calls": [{"type": "function", "function": one} for one in calls]}


def read_system(line: Line) -> str | None:
    """What a record says to the model beside its messages.

    Raises:
        DataError: it is no text.
    """
    return decode_field(line, "system", str | None) if "system" in line.record else None


def led_by_system(line: Line, messages: Sequence[Message]) -> list[Message]:
    """The messages behind the record's system message, unless they begin with it already.

    Raises:
        ExampleError: they begin with another one.
    """
    system = read_system(line)
    if not system:
        return list(messages)
    if messages and messages[0].get("role") in ("system", "developer"):
        if messages[0].get("content") == system:
            return list(messages)
        raise ExampleError(
            "record.shape",
            'a "system" beside messages that begin with another',
            hint="keep one of the two",
        )
    return [{"role": "system", "content": system}, *messages]


def read_history(line: Line) -> list[Message]:
    """What was asked and answered before an instruction, as LLaMA-Factory has it: a list of pairs.

    Raises:
        DataError: it is no such list.
    """
    if "history" not in line.record:
        return []
    rounds = decode_field(line, "history", list[tuple[str, str]] | None) or []
    return [
        {"role": role, "content": content}
        for said in rounds
        for role, content in zip(("user", "assistant"), said, strict=True)
    ]


def read_tools(line: Line) -> list[Any] | None:
    """The tools of a record, as a list or as the text of one.

    Raises:
        DataError, ExampleError: they are no list.
    """
    if "tools" not in line.record:
        return None
    raw = bytes(line.record["tools"])
    if raw.startswith(b'"'):  # a list as text, as some data sets have it
        text = decode_field(line, "tools", str)
        try:
            return msgspec.json.decode(text, type=list[Any]) if text.strip() else None
        except MALFORMED as error:
            raise ExampleError("record.shape", f'"tools": {error}', hint="a list of JSON schemas") from None
    tools: list[Any] | None = decode_field(line, "tools", list[Any] | None)
    return tools or None
