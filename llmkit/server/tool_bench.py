"""The tools that a server itself runs: those that its operator named, and no others, whoever asks.

A call runs in a thread, with the bounds of `retrieve/tool_*`. More calls than there are threads wait for one,
which each of those bounds gives back. A call whose client has left is ended.
"""

import asyncio
import threading
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from llmkit.retrieve.tools.leave import until
from llmkit.retrieve.tools.loop import Called, Toolbox
from llmkit.server.answer import ExecutedTool, ToolCall
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.calls import FoundCall
from llmkit.tokens.tools.results import Disarmed

CALLS_AT_ONCE = 16

Message = dict[str, Any]


class ToolBench:
    """Runs calls.

    Attributes:
        functions: what a model is told of the tools, as OpenAI writes it.
        max_calls: of one answer.
    """

    def __init__(self, toolbox: Toolbox, tokenizer: Tokenizer) -> None:
        """
        Args:
            toolbox: the tools; whom its operator named is approved.
            tokenizer: of the model that reads their results: none of its special tokens is in them.
        """
        self._toolbox = toolbox
        self._disarmed = Disarmed(tokenizer)
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="tool")
        self.functions: tuple[Message, ...] = tuple(map(self._disarmed.value, toolbox.functions))
        self.max_calls = toolbox.max_calls

    def close(self) -> None:
        """No more calls. Those under way end at their bounds, at the latest."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(
        self, calls: Sequence[ToolCall], done: int, only: Collection[str]
    ) -> tuple[list[Message], list[Message], tuple[ExecutedTool, ...]]:
        """The calls as a message has them, a message with the result of each, and what is told of them.

        Args:
            calls: of one text.
            done: of this answer before.
            only: names of the tools that the request allows.
        """
        found = [FoundCall(one.name, one.arguments) for one in calls]
        loop, over = asyncio.get_running_loop(), threading.Event()
        try:
            work = loop.run_in_executor(self._threads, self._run, found, done, only, over)
            asked, results, heard = await work
        finally:
            over.set()  # where the client left, what runs ends
        executed = tuple(
            ExecutedTool(done + place, call.id, call.name, call.arguments, one.result, one.failed)
            for place, (call, one) in enumerate(zip(calls, heard, strict=True))
        )
        return asked, results, executed

    def _run(
        self, found: Sequence[FoundCall], done: int, only: Collection[str], over: threading.Event
    ) -> tuple[list[Message], list[Message], list[Called]]:
        heard: list[Called] = []
        with until(over):
            asked, results = self._toolbox.answer(found, done, told=heard.append, only=only)
        read = [{**one, "content": self._disarmed.text(one["content"])} for one in results]
        return asked, read, heard
