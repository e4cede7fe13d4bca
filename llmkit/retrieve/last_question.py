"""The question of a conversation: what the user said last."""

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.tokens.content_parts import joined_parts


def last_question(messages: Sequence[Mapping[str, Any]]) -> int | None:
    """Where the user's last words stand; None where there are none."""
    places = [place for place, one in enumerate(messages) if one.get("role") == "user" and words(one)]
    return places[-1] if places else None


def words(message: Mapping[str, Any]) -> str:
    """What a message says; nothing where it has an image or no text."""
    content = joined_parts(message.get("content"))
    return content if isinstance(content, str) and content.strip() else ""
