"""llmkit retrieve, its table."""

from llmkit.commands.retrieve import group


def test_the_group_has_its_subcommands() -> None:
    assert {"index", "query"} <= set(group().commands)
