"""Tools whose result nobody waits for any more."""

import contextlib
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.retrieve.tools.alone import Alone
from llmkit.retrieve.tools.config import ToolError, ToolLimits, ToolSpec
from llmkit.retrieve.tools.leave import check_awaited, is_over, until
from llmkit.retrieve.tools.loop import Toolbox
from llmkit.retrieve.tools.mcp import McpServer
from llmkit.retrieve.tools.run import run_program
from llmkit.retrieve.tools.sql import SqlTool
from llmkit.tokens.tools.calls import FoundCall

LONG = ToolLimits(seconds=60.0)
FOREVER = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
MCP = """
import json, pathlib, sys
for line in sys.stdin:
    asked = json.loads(line)
    method = asked["method"]
    if method == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {}}
    elif method == "tools/list":
        result = {"tools": [{"name": "wait", "inputSchema": {"type": "object"}}]}
    else:
        with open(sys.argv[1], "a") as out:
            out.write(line)
        if not asked.get("params", {}).get("arguments", {}).get("soon"):
            continue
        result = {"content": [{"type": "text", "text": "here"}]}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


def left(work: Callable[[], Any], begun: Callable[[], bool] = lambda: True) -> str:
    """What work says that somebody leaves once it has begun."""
    over, said = threading.Event(), list[str]()

    def run() -> None:
        with until(over):
            try:
                said.append(f"a result: {work()}")
            except ToolError as error:
                said.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    while not begun():
        time.sleep(0.01)
    over.set()
    thread.join(30)
    assert not thread.is_alive()
    return said[0]


def test_outside_of_a_server_somebody_always_waits() -> None:
    assert not is_over()
    over = threading.Event()
    with until(over):
        check_awaited()
        over.set()
        assert is_over()
    check_awaited()


def test_a_program_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = "import os, subprocess, sys, time; child = subprocess.Popen(['sleep', '99'])"
    program += f"; open({str(tmp_path / 'new')!r}, 'w').write(str(child.pid))"
    program += f"; os.rename({str(tmp_path / 'new')!r}, {str(note)!r}); time.sleep(99)"
    said = left(lambda: run_program([sys.executable, "-S", "-c", program], b"", LONG), note.exists)
    assert "nobody waits" in said
    pid = int(note.read_text())
    for _ in range(500):
        state = ""
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state in ("", "Z"):
            return
        time.sleep(0.01)
    raise AssertionError("what the program started still runs")


def test_a_query_is_interrupted() -> None:
    with contextlib.closing(sqlite3.connect(":memory:", check_same_thread=False)) as database:
        tool = SqlTool(database, LONG)
        assert "nobody waits" in left(lambda: tool.call({"query": FOREVER}))
        assert json.loads(tool.call({"query": "SELECT 7 AS x"}))["rows"] == [[7]]


def test_an_mcp_server_is_told_and_serves_the_next_call(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    command = [sys.executable, "-S", "-c", MCP, str(heard)]
    with McpServer(command, LONG) as server:
        assert "nobody waits" in left(lambda: server.call("wait", {}), heard.exists)
        assert server.call("wait", {"soon": True}) == "here"
    lines = [json.loads(line) for line in heard.read_text().splitlines()]
    (told,) = [one for one in lines if one["method"] == "notifications/cancelled"]
    (asked,) = [one for one in lines if one.get("params", {}).get("arguments") == {}]
    assert told["params"]["requestId"] == asked["id"] and "id" not in told


def test_who_waits_for_a_turn_does_not_wait_on() -> None:
    alone = Alone(60.0)

    def wait() -> None:
        with alone.turn():
            pass

    with alone.turn():
        assert "nobody waits" in left(wait)
    assert left(wait) == "a result: None"


def test_no_further_call_is_made() -> None:
    over = threading.Event()
    made: list[dict[str, Any]] = []

    class Leaves:
        spec = ToolSpec("leave", "it", {"type": "object"})

        def call(self, arguments: dict[str, Any]) -> str:
            made.append(arguments)
            over.set()
            return "done"

    toolbox = Toolbox([Leaves()], lambda name, arguments: True)
    with until(over):
        _, results = toolbox.answer([FoundCall("leave", "{}"), FoundCall("leave", "{}")], 0)
    assert len(made) == 1
    assert results[0]["content"] == "done" and "nobody waits" in results[1]["content"]


def test_bounds_still_hold() -> None:
    with until(threading.Event()), pytest.raises(ToolError, match="no result within"):
        run_program(["sleep", "9"], b"", ToolLimits(seconds=0.01))
