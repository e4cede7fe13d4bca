"""Retrieval as a tool: the model asks, and gets the passages of an index that answer best."""

import json
from typing import Any

from llmkit.retrieve.hits import Find
from llmkit.retrieve.tools.alone import Alone
from llmkit.retrieve.tools.config import ToolLimits, ToolSpec, one_text

_PASSAGES = 5


class SearchTool:
    """Searches one index."""

    def __init__(self, find: Find, limits: ToolLimits, name: str = "search") -> None:
        """
        Args:
            find: searches it.
            limits: of a result: passages that do not fit into it are left out.
            name: what the function is called.
        """
        self.spec = ToolSpec(
            name,
            "Finds the passages of a collection of documents that answer a question best.",
            one_text("query", "what to look for"),
        )
        self._find, self._limits = find, limits
        self._alone = Alone(limits.seconds)

    def call(self, arguments: dict[str, Any]) -> str:
        """See `Tool.call`; the result is a list of passages, the best first."""
        with self._alone.turn():
            hits = self._find(arguments["query"], _PASSAGES)
        passages: list[dict[str, Any]] = []
        for one in hits:
            heading = {"heading": one.heading} if one.heading else {}
            more = {"document": one.document, **heading, "text": one.text}
            if len(_written([*passages, more])) <= self._limits.output_bytes:
                passages.append(more)
        return _written(passages).decode()


def _written(passages: list[dict[str, Any]]) -> bytes:
    return json.dumps(passages, ensure_ascii=False).encode()
