"""OpenAI's usage object."""

from llmkit.server.answer import Usage
from llmkit.server.wire.usage import usage_object


def test_the_three_counts_add_up_and_the_cache_is_told_apart() -> None:
    assert usage_object(Usage(10, 4, 5)) == {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
