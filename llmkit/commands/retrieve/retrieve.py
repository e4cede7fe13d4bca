"""llmkit retrieve: an index of documents, and the passages in it that answer a query."""

from collections.abc import Callable

from llmkit.commands.base import Group, build_group
from llmkit.commands.retrieve.context import context
from llmkit.commands.retrieve.eval import evaluate
from llmkit.commands.retrieve.index import index
from llmkit.commands.retrieve.query import query


def group() -> Group:
    """The subcommands of `llmkit retrieve`."""
    actions: dict[str, Callable[..., None]] = {
        "index": index,
        "query": query,
        "context": context,
        "eval": evaluate,
    }
    return build_group("retrieve", "Documents' passages: index them, find those that answer.", actions)
