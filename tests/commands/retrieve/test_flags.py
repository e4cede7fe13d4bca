"""The flags that searching commands share."""

import pytest

from llmkit.commands.retrieve.retrieve import group

SHARED = {"index", "most", "k1", "b", "field"}


@pytest.mark.parametrize("name", ["query", "context", "eval"])
def test_each_searching_command_has_them(name: str) -> None:
    assert {param.name for param in group().commands[name].params} >= SHARED
