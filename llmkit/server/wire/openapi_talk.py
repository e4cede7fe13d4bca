"""Schemas of what all conversations have: messages, and which tools may be called or must be."""

from collections.abc import Iterable

from llmkit.server.wire.json_schema import (
    ANYTHING,
    NULL,
    Schema,
    array,
    clash,
    either,
    lacking,
    one_of,
    or_null,
    record,
    reference,
)
from llmkit.server.wire.messages_in import MOST_MESSAGES, TEMPLATE_KWARGS
from llmkit.server.wire.openapi_sampling import Facts, named_model
from llmkit.server.wire.tools import MOST_TOOLS

_ALLOWED = (
    record(
        {"allowed_tools": record({"mode": one_of("auto")}, required=("mode",), more=True)},
        required=("allowed_tools",),
        more=True,
    ),
    record(
        {"type": one_of("allowed_tools"), "mode": one_of("auto"), "tools": {"type": "array"}},
        required=("type", "mode", "tools"),
        more=True,
    ),
)
"""Choices of the tools that may be called, where none need be."""


def talk_fields(facts: Facts, message: str, tool: str, choice: str) -> dict[str, Schema]:
    """Fields of every conversation.

    Args:
        facts: of the server.
        message: the document's name for one; likewise the others.
        tool: what may be called.
        choice: which of them.
    """
    return {
        "model": named_model(facts),
        "messages": array(reference(message), least=1, most=MOST_MESSAGES),
        "tools": or_null(array(reference(tool), most=MOST_TOOLS)),
        "tool_choice": or_null(reference(choice)),
        "retrieve": one_of(None, False) if facts.has_index is False else or_null({"type": "boolean"}),
    }


def chat_fields(facts: Facts) -> dict[str, Schema]:
    """The same of chats, as OpenAI's clients send them."""
    return talk_fields(facts, "ChatMessage", "Tool", "ToolChoice")


def template_kwargs() -> Schema:
    """What a chat may tell its template."""
    return record({name: ANYTHING for name in TEMPLATE_KWARGS})


def forced(free: Schema, rules: Iterable[str]) -> tuple[Schema, Schema]:
    """A choice among tools that are not there; a call that is required, with a rule for the text beside it.

    Args:
        free: choices that say nothing of tools.
        rules: what sets a rule.
    """
    no_tools = lacking({}, tools={"type": "array", "minItems": 1})
    ruled = either(*(clash(**{one: {"not": NULL}}) for one in rules))
    return (
        clash(tool_choice={"not": free}) | either(no_tools),
        clash(tool_choice={"not": either(free, *_ALLOWED)}) | ruled,
    )
