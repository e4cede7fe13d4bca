"""One line to a server, several questions at once; answers that are too long, and questions given up."""

import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from llmkit.retrieve.tools.config import ToolError
from llmkit.retrieve.tools.mcp_link import McpLink

SERVER = r"""
import json, sys
held = []
heard = []

def said(number, result):
    print(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}), flush=True)

for line in sys.stdin:
    asked = json.loads(line)
    heard.append(asked)
    number, kind = asked.get("id"), asked["method"]
    if kind == "hold":
        held.append(number)
    elif kind == "free":
        said(number, {"freed": len(held)})
        for one in reversed(held):
            said(one, {"id": one})
    elif kind == "huge":
        said(number, {"text": "x" * 5_000_000})
    elif kind == "last":
        print('{"result": {"text": "' + "x" * 5_000_000 + '"}, "jsonrpc": "2.0", "id": %d}' % number)
        sys.stdout.flush()
    elif kind == "heard":
        said(number, {"heard": heard})
"""


@pytest.fixture
def link() -> Iterator[McpLink]:
    made = McpLink([sys.executable, "-S", "-c", SERVER])
    yield made
    made.close()


def test_a_question_that_hangs_holds_up_no_other(link: McpLink) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(link.ask("hold", {}, 60.0))) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len([one for one in link.ask("heard", {}, 60.0)["heard"] if one["method"] == "hold"]) < 3:
        pass
    assert not found
    assert link.ask("free", {}, 60.0) == {"freed": 3}
    for thread in threads:
        thread.join(60)
    assert len({json.dumps(one) for one in found}) == 3


@pytest.mark.parametrize("kind", ["huge", "last"])
def test_an_answer_that_is_too_long_is_the_error_of_its_question_alone(link: McpLink, kind: str) -> None:
    found: list[Any] = []
    other = threading.Thread(target=lambda: found.append(link.ask("hold", {}, 60.0)))
    other.start()
    while not any(one["method"] == "hold" for one in link.ask("heard", {}, 60.0)["heard"]):
        pass
    with pytest.raises(ToolError, match="message has more than 4,194,304 bytes"):
        link.ask(kind, {}, 60.0)
    assert link.ask("free", {}, 60.0) == {"freed": 1}
    other.join(60)
    assert len(found) == 1


def test_a_server_is_told_of_a_question_that_took_too_long(link: McpLink) -> None:
    with pytest.raises(ToolError, match=r"no answer within 0\.1 seconds"):
        link.ask("hold", {}, 0.1)
    hold, told, _ = link.ask("heard", {}, 60.0)["heard"]
    assert told["method"] == "notifications/cancelled" and "id" not in told
    assert told["params"] == {"requestId": hold["id"], "reason": "no answer within 0.1 seconds"}
