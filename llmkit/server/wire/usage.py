"""`usage`: how many tokens a request took. Source: OpenAI's API reference, "The chat completion object"."""

from typing import Any

from llmkit.server.answer import Usage


def usage_object(usage: Usage) -> dict[str, Any]:
    """OpenAI's object, with what the cache saved."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
