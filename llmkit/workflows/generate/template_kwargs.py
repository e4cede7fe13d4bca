"""What a chat template is told beside the conversation, read as `llmkit serve` reads it of requests."""

from collections.abc import Mapping
from typing import Any

import msgspec

from llmkit.errors import DataError, UsageError
from llmkit.formats.jsonl import MALFORMED
from llmkit.tokens.tokenizer import Tokenizer

KEY, FLAG = "chat_template_kwargs", "--chat-template-kwargs"
"""What rows and the command line call it: as llama.cpp and vLLM do."""
_HINT = 'an object, as {"enable_thinking": false}'


def parse_kwargs(text: str) -> dict[str, Any]:
    """What the flag says.

    Raises:
        UsageError: it is no JSON object, or says what could change how the template is run.
    """
    try:
        told = msgspec.json.decode(text, type=dict[str, Any])
    except MALFORMED as error:
        raise UsageError(f"{FLAG}: {error} (found {text})", hint=_HINT) from None
    try:
        return read_kwargs(told)
    except DataError as error:
        raise UsageError(error.problem.replace(KEY, FLAG, 1), hint=error.hint) from None


def read_kwargs(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says.

    Raises:
        DataError: something that a server would refuse.
    """
    from llmkit.server.errors import ApiError
    from llmkit.server.wire.messages_in import read_template_kwargs  # only who says something waits

    try:
        return read_template_kwargs(dict(told))
    except ApiError as error:
        raise DataError(error.message, hint=_HINT) from None


def unread(told: Mapping[str, Any], tokenizer: Tokenizer | None) -> tuple[str, ...]:
    """What the template does not look at, a sentence each."""
    template = "" if tokenizer is None else tokenizer.for_tools.chat_template or ""
    return tuple(f"{FLAG}: the chat template reads no {name}" for name in told if name not in template)
