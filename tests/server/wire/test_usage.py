"""OpenAI's usage object."""

from llmkit.server.answer import Answered, Usage
from llmkit.server.wire.usage import envelope, usage_object


def test_the_three_counts_add_up_and_the_cache_is_told_apart() -> None:
    assert usage_object(Usage(10, 4, 5, 2)) == {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


def test_an_answer_begins_with_who_gives_it() -> None:
    assert envelope(Answered("cmpl-1", 7, "m", "fp"), "text_completion") == {
        **{"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m"},
        "system_fingerprint": "fp",
    }
