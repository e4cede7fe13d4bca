"""Usage adds up."""

from llmkit.server.answer import Usage


def test_tokens_read_and_written_are_the_total_whatever_the_cache_had() -> None:
    assert Usage(prompt_tokens=10, cached_tokens=8, completion_tokens=5).total_tokens == 15
