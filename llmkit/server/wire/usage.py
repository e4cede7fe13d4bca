"""What OpenAI's text endpoints tell alike: who answers, and how many tokens it took.

Source: OpenAI's API reference, "The chat completion object", "The completion object".
"""

from typing import Any

from llmkit.server.answer import Answered, Usage


def usage_object(usage: Usage) -> dict[str, Any]:
    """OpenAI's object, with what the cache saved."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def envelope(who: Answered, kind: str) -> dict[str, Any]:
    """What an answer, and each event of a stream, begins with; `kind` is what OpenAI calls such an object."""
    return {
        "id": who.id,
        "object": kind,
        "created": who.created,
        "model": who.model,
        "system_fingerprint": who.fingerprint,
    }
