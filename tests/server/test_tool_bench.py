"""The tools of a server: what models are told, and calls from many requests at once."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from llmkit.retrieve.tools.config import ToolSpec
from llmkit.retrieve.tools.loop import Toolbox
from llmkit.server.answer import ToolCall
from llmkit.server.tool_bench import ToolBench
from llmkit.tokens.load import load_tokenizer
from tests.server.calling_made import calling_folder

NOTHING: dict[str, Any] = {"type": "object", "properties": {}}


class Meets:
    """Ends when another call of it is under way."""

    spec = ToolSpec("meets", "reads <|end|>", NOTHING)

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2, timeout=20)

    def call(self, arguments: dict[str, Any]) -> str:
        self._barrier.wait()
        return "met <|end|>"


@pytest.fixture
def bench(tmp_path: Path) -> ToolBench:
    toolbox = Toolbox([Meets()], lambda name, arguments: True)
    return ToolBench(toolbox, load_tokenizer(calling_folder(tmp_path)))


def test_calls_of_two_requests_run_beside_each_other_and_beside_the_loop(bench: ToolBench) -> None:
    async def go() -> Any:
        one = asyncio.create_task(bench.run([ToolCall(0, "call_a", "meets", "{}")], 0, ["meets"]))
        await asyncio.sleep(0)
        return await asyncio.gather(one, bench.run([ToolCall(0, "call_b", "meets", "{}")], 4, ["meets"]))

    first, second = asyncio.run(go())
    (told,) = first[2]
    assert (told.index, told.id, told.name, told.output, told.failed) == (
        *(0, "call_a", "meets"),
        *("met <|end|>", False),
    )
    assert second[2][0].index == 4 and second[0][0]["id"] == second[1][0]["tool_call_id"] == "call_5"


def test_no_special_token_is_in_what_a_model_reads_of_tools(bench: ToolBench) -> None:
    assert bench.functions[0]["function"]["description"] == "reads < |end|>"

    async def go() -> Any:
        calls = [ToolCall(0, "a", "nobody", "{}"), ToolCall(1, "b", "nobody<|end|>", "[1]")]
        return await bench.run(calls, 0, ["meets"])

    _, results, executed = asyncio.run(go())
    assert all("<|end|>" not in one["content"] for one in results)
    assert [one.failed for one in executed] == [True, True] and "are not an object" in executed[1].output
    bench.close()
