"""llmkit retrieve, its table."""

from llmkit.commands.retrieve.retrieve import group


def test_the_group_has_its_subcommands() -> None:
    assert list(group().commands) == ["index", "query", "context", "eval"]
