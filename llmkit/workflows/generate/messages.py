"""Messages and functions of rows, read as `llmkit serve` reads those of requests, to the same prompt."""

from collections.abc import Sequence
from typing import Any

from llmkit.errors import DataError
from llmkit.server.errors import ApiError
from llmkit.server.wire.messages_in import ROLES, read_messages
from llmkit.server.wire.tools import read_tools
from llmkit.tokens import record_messages

_SAME = {"thinking": "reasoning_content"}
_RESULTS = record_messages.ROLES - {*ROLES}
"""What families call the role of a tool's result, which `finetune` takes as well."""


def read_conversation(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages for `PromptEncoder.render_told`.

    Args:
        messages: in OpenAI's words: content may be in parts, arguments of calls a text. As in examples to
            learn from, answers may have a weight, and results another role.

    Raises:
        DataError: one that a server would refuse, named with what is wrong.
    """
    try:
        return list(read_messages([_as_asked(one) for one in messages]))
    except ApiError as error:
        raise DataError(error.message, hint='a message is {"role": "user", "content": TEXT}') from None


def _as_asked(message: dict[str, Any]) -> dict[str, Any]:
    told = {_SAME.get(key, key): value for key, value in message.items() if key != "weight"}
    return told | {"role": "tool"} if told.get("role") in _RESULTS else told


def read_functions(tools: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Functions that the model may call, for the same; none where nothing is said of any.

    Raises:
        DataError: as for `read_conversation`.
    """
    try:
        return list(read_tools(tools))
    except ApiError as error:
        raise DataError(
            error.message, hint='a tool is {"type": "function", "function": {"name", "parameters"}}'
        ) from None
