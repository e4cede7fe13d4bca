"""Conversations that ask: the question is what the user said last, as `llmkit serve --retrieve` has it."""

from collections.abc import Sequence
from typing import Any

import msgspec

from llmkit.errors import DataError
from llmkit.formats.jsonl import MALFORMED, Record
from llmkit.retrieve.last_question import last_question, words

MESSAGES = "messages"
Message = dict[str, Any]


def read_conversation(record: Record, where: str) -> list[Message]:
    """The messages of a record; none where it has none.

    Args:
        record: undecoded.
        where: it stands, for errors.

    Raises:
        DataError: they are no list of messages.
    """
    try:
        return msgspec.json.decode(record.get(MESSAGES, b"[]"), type=list[Message])
    except MALFORMED as error:
        hint = '"messages": [{"role": "user", "content": TEXT}]'
        raise DataError(f'{where}: "{MESSAGES}": {error}', hint=hint) from None


def question(record: Record, where: str) -> str:
    """What a record's user asked last.

    Raises:
        DataError: no messages, or no question in them.
    """
    messages = read_conversation(record, where)
    asked = last_question(messages)
    if asked is None:
        raise DataError(f"{where}: no user says anything in its messages", hint="--field names another key")
    return words(messages[asked])


def with_prompt(messages: Sequence[Message], query: str, prompt: str) -> list[Message]:
    """A conversation with a prompt in place of the question that it was made from.

    The question is the user's last; where it was another and has been answered, the prompt comes at the end.
    """
    asked = last_question(messages)
    if asked is None or (asked + 1 < len(messages) and words(messages[asked]) != query):
        return [*messages, {"role": "user", "content": prompt}]
    return [*messages[:asked], {**messages[asked], "content": prompt}, *messages[asked + 1 :]]
