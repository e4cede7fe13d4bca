"""A server of functions over stdio, written here by the protocol's text; and servers that do not mean well.

With the package `mcp` its own server is spoken with, too.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, LlmkitError
from llmkit.retrieve.tools import mcp as tool_mcp
from llmkit.retrieve.tools import mcp_link
from llmkit.retrieve.tools.config import ToolError, ToolLimits
from llmkit.retrieve.tools.mcp import McpServer

SERVER = r"""
import json, sys, time

ADD = {"name": "add", "description": "d", "inputSchema": {"type": "object", "properties": {"a": {}}}}

def say(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()

def call(arguments):
    kind = arguments.get("kind")
    if kind == "slow":
        time.sleep(0.6)
    if kind == "dead":
        sys.exit(3)
    if kind == "noise":
        print("hello")
    if kind == "endless":
        while True:
            say(method="notifications/message", params={"data": "x" * 1000})
    if kind == "wide":
        while True:
            sys.stdout.write("x" * 65536)
    if kind == "asks":
        say(id="s1", method="sampling/createMessage", params={})
        refused = json.loads(sys.stdin.readline())
        say(id="s2", method="ping")
        pong = json.loads(sys.stdin.readline())
        return {"content": [{"type": "text", "text": json.dumps([refused["error"]["code"], pong["result"]])}]}
    if kind == "error":
        return {"content": [{"type": "text", "text": "no such town"}], "isError": True}
    if kind == "image":
        return {"content": [{"type": "image", "data": "AA"}], "structuredContent": {"a": 1}}
    if kind == "long":
        return {"content": [{"type": "text", "text": "x" * 100_000}]}
    return {"content": [{"type": "text", "text": json.dumps(arguments)}, {"type": "text", "text": "ü"}]}

mode = sys.argv[1] if len(sys.argv) > 1 else ""
initialized = False
for line in sys.stdin:
    asked = json.loads(line)
    method, params = asked["method"], asked.get("params", {})
    if method == "initialize":
        version = "1999-01-01" if mode == "old" else params["protocolVersion"]
        assert params["clientInfo"]["name"] == "llmkit"
        say(id=asked["id"], result={"protocolVersion": version, "capabilities": {"tools": {}}})
    elif method == "notifications/initialized":
        initialized = True
    elif method == "tools/list" and initialized:
        page = int(params.get("cursor", 0))
        if mode == "pages":
            say(id=asked["id"], result={"tools": [], "nextCursor": str(page + 1)})
        elif mode == "odd":
            say(id=asked["id"], result={"tools": [{"name": "f", "inputSchema": {"type": "string"}}]})
        elif page == 0:
            say(id=asked["id"], result={"tools": [ADD], "nextCursor": "1"})
        else:
            say(id=asked["id"], result={"tools": [{**ADD, "name": "a.dot/ted"}]})
    elif method == "tools/call" and params["name"] == "a.dot/ted":
        say(id=asked["id"], error={"code": -1, "message": "not today"})
    elif method == "tools/call":
        say(id=asked["id"], result=call(params["arguments"]))
"""
Start = Callable[..., McpServer]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    (tmp_path / "server.py").write_text(SERVER)

    def make(*mode: str, prefix: str = "", seconds: float = 20.0) -> McpServer:
        command = [sys.executable, "-S", str(tmp_path / "server.py"), *mode]
        return McpServer(command, ToolLimits(seconds=seconds, output_bytes=4096), prefix)

    return make


def call(server: McpServer, **arguments: Any) -> str:
    return server.tools[0].call(arguments)


def test_its_functions_of_all_pages_have_names_that_templates_take(start: Start) -> None:
    with start(prefix="my_") as server:
        assert [tool.spec.name for tool in server.tools] == ["my_add", "my_a_dot_ted"]
        assert server.tools[0].spec.parameters == {"type": "object", "properties": {"a": {}}}
        assert call(server, a=[1, None]) == '{"a": [1, null]}\nü'
        with pytest.raises(
            ToolError, match="the server refuses: not today"
        ):  # so it was called by its own name
            server.tools[1].call({})


def test_what_comes_back_is_text_or_what_the_server_has_structured(start: Start) -> None:
    with start() as server:
        assert json.loads(call(server, kind="image")) == {"a": 1}
        assert call(server, kind="asks") == "[-32601, {}]"  # what it asks of us has its answer
        with pytest.raises(ToolError, match=r"^no such town$"):
            call(server, kind="error")
        with pytest.raises(ToolError, match="more than 4,096 bytes"):
            call(server, kind="long")
        assert call(server, a=1) == '{"a": 1}\nü'


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(start: Start) -> None:
    with start(seconds=0.3) as server:
        with pytest.raises(ToolError, match=r"no answer within 0\.3 seconds"):
            call(server, kind="slow")
        time.sleep(0.6)
        assert call(server, a=2) == '{"a": 2}\nü'


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("dead", "the server has ended"),
        ("noise", "what is no message: 'hello'"),
        ("endless", "no answer within 0.5 seconds"),
        ("wide", "more than|no answer within"),
    ],
)
def test_a_server_that_fails_in_the_middle_is_an_error_for_the_model(
    start: Start, kind: str, why: str
) -> None:
    with start(seconds=0.5) as server, pytest.raises(ToolError, match=why):
        call(server, kind=kind)
    assert server._link.process.returncode is not None


def test_a_server_that_has_ended_is_started_again_by_the_next_call(start: Start) -> None:
    with start() as server:
        for _ in range(2):
            with pytest.raises(ToolError, match="the server has ended"):
                call(server, kind="dead")
            assert call(server, a=1) == '{"a": 1}\nü'
        server._link.process.kill()  # between two calls
        os.waitid(os.P_PID, server._link.process.pid, os.WEXITED | os.WNOWAIT)
        assert call(server, a=2) == '{"a": 2}\nü'


def test_a_server_that_ends_at_every_call_is_let_rest(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_mcp, "_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(tool_mcp, "_MOST_PAUSE_SECONDS", 3600.0)
    with start() as server:
        for _ in range(2):
            with pytest.raises(ToolError, match="the server has ended"):
                call(server, kind="dead")
        with pytest.raises(ToolError, match="again and again: it is started again in"):
            call(server, a=1)
        server._pause_until = 0.0
        assert call(server, a=1) == '{"a": 1}\nü'


@pytest.mark.parametrize(
    ("mode", "kind", "why"),
    [
        ("old", LlmkitError, "speaks version '1999-01-01'"),
        ("pages", LlmkitError, "lists tools without end"),
        ("odd", DataError, "not of an object"),
    ],
)
def test_a_server_that_cannot_be_used_is_told_at_the_start(
    start: Start, mode: str, kind: type[LlmkitError], why: str
) -> None:
    with pytest.raises(kind, match=why):
        start(mode)


def test_programs_that_are_no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_mcp, "_START_SECONDS", 0.3)
    monkeypatch.setattr(mcp_link, "_GRACE_SECONDS", 0.1)
    for command, why in (
        (["true"], "has ended"),
        (["cat"], "the server refuses"),  # ours to it, come back
        (["sleep", "60"], "no answer within"),
        (["yes"], "what is no message: 'y'"),
        (["/nowhere/server"], "cannot be run"),
    ):
        with pytest.raises(LlmkitError, match=why) as caught:
            McpServer(command, ToolLimits())
        assert caught.value.problem.startswith(f"mcp={' '.join(command)}: ")


def test_the_server_of_the_package_mcp_is_understood(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    (tmp_path / "server.py").write_text(
        "from mcp.server.fastmcp import FastMCP\nserver = FastMCP('t')\n@server.tool()\n"
        "def add(a: int, b: int = 1) -> int:\n    '''Add.'''\n    return a + b\nserver.run()\n"
    )
    with McpServer([sys.executable, str(tmp_path / "server.py")], ToolLimits()) as server:
        assert (server.tools[0].spec.name, server.tools[0].spec.description) == ("add", "Add.")
        assert call(server, a=2, b=40) == "42"
