"""Results from a transcript in place of tools: the same conversation again, with nothing run."""

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any

from llmkit.errors import DataError
from llmkit.retrieve.tools.config import ToolSpec


class Recording:
    """What was called in some conversations, and what came of it."""

    def __init__(self, source: str) -> None:
        """source: where it comes from, for messages."""
        self._source = source
        self._results: dict[str, deque[str]] = defaultdict(deque)

    def add(self, messages: Iterable[Mapping[str, Any]]) -> int:
        """Take in the results of a conversation, and say how many there were."""
        asked: dict[Any, Mapping[str, Any]] = {}
        count = 0
        for message in messages:
            for call in message.get("tool_calls") or ():
                asked[call.get("id")] = call["function"]
            function = asked.get(message.get("tool_call_id")) if message.get("role") == "tool" else None
            if function is not None:
                arguments = function.get("arguments")
                if isinstance(arguments, str):  # as OpenAI writes them
                    arguments = json.loads(arguments or "{}")
                content = message.get("content")
                self._results[_key(function["name"], arguments)].append(
                    content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
                )
                count += 1
        return count

    def result(self, name: str, arguments: dict[str, Any]) -> str:
        """What came of this call; where it was made several times, of each in turn, the last for good.

        Raises:
            DataError: it was never made.
        """
        found = self._results.get(_key(name, arguments))
        if not found:
            shown = json.dumps(arguments, ensure_ascii=False)
            raise DataError(
                f"{self._source}: has no result of {name}({shown})",
                hint="without --replay, and with --tool, the call is made",
            )
        return found.popleft() if len(found) > 1 else found[0]


class ReplayTool:
    """A function whose results are known."""

    def __init__(self, spec: ToolSpec, recording: Recording) -> None:
        self.spec = spec
        self._recording = recording

    def call(self, arguments: dict[str, Any]) -> str:
        """See `Tool.call`.

        Raises:
            DataError: the recording has no such call.
        """
        return self._recording.result(self.spec.name, arguments)


def _key(name: str, arguments: Any) -> str:
    return json.dumps([name, arguments], sort_keys=True, ensure_ascii=False)
