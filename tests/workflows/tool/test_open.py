"""What --tool names, opened, and what it says where that cannot be."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, LlmkitError, MissingError, UsageError
from llmkit.retrieve.config import IndexConfig
from llmkit.retrieve.tools.loop import Toolbox
from llmkit.tokens.tools.calls import FoundCall
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.tool.open import open_tools
from llmkit.workflows.tool.options import ToolOptions


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "echo.sh").write_text('#!/bin/sh\n[ "$1" = --schema ] && echo {} || cat\n')
    (tmp_path / "echo.sh").chmod(0o755)
    (tmp_path / "args.sh").write_text('#!/bin/sh\ncat >/dev/null; printf \'"%s"\' "$*"\n')
    (tmp_path / "args.sh").chmod(0o755)
    (tmp_path / "schema.json").write_text('{"type": "object", "properties": {"a": {}}}')
    (tmp_path / "double.py").write_text("def double(x: int) -> int:\n    return 2 * x\n")
    database = sqlite3.connect("towns.sqlite")
    database.execute("CREATE TABLE town (name TEXT)")
    database.commit()


def options(*tools: str, **more: Any) -> ToolOptions:
    return ToolOptions(tools=tools, approve="auto", **more)


def call(box: Toolbox | None, name: str, **arguments: Any) -> str:
    assert box is not None
    _, (result,) = box.answer([FoundCall(name, json.dumps(arguments))], 0)
    return str(result["content"])


def test_every_kind_of_source_is_opened_and_answers() -> None:
    given = options(
        *("calculator", "sums: calculator", "sql=towns.sqlite", "towns: sql=towns.sqlite"),
        *(
            "double.py:double",
            "twice: double.py:double",
            "./echo.sh",
            "say: ./echo.sh",
            "args: ./args.sh 'a b' c",
        ),
        schemas=("args: schema.json",),
    )
    with open_tools(given) as box:
        assert box is not None
        assert box.names == (
            *("calculator", "sums", "sql", "towns", "double", "twice", "echo", "say", "args"),
        )
        assert call(box, "sums", expression="6 * 7") == "42"
        assert call(box, "towns", query="SELECT * FROM town") == '{"columns": ["name"], "rows": []}'
        assert call(box, "twice", x=21) == "42"
        assert call(box, "say") == "{}"
        assert call(box, "args", a=1) == "a b c"
        assert "needs" not in call(box, "args") and "no argument 'b'" in call(box, "args", b=1)


def test_an_index_is_searched() -> None:
    Path("docs.jsonl").write_text(json.dumps({"id": "d", "text": "Oslo is the capital of Norway."}) + "\n")
    index_documents([Path("docs.jsonl")], Path("index"), IndexConfig())
    with open_tools(options("search=index")) as box:
        (found,) = json.loads(call(box, "search", query="capital Norway"))
    assert found == {"document": "d", "text": "Oslo is the capital of Norway."}


@pytest.mark.parametrize(
    ("tool", "kind", "why"),
    [
        ("nowhere", MissingError, "no program nowhere"),
        ("x: ./schema.json", MissingError, r"no program \./schema\.json"),  # not executable
        ("  ", UsageError, "no name and source"),
        ("x:./echo.sh", MissingError, r"no program x:\./echo\.sh"),
        ("1x: ./echo.sh", UsageError, "no name and source"),
        ("x: './echo.sh", UsageError, "No closing quotation"),
        ("sql=nowhere.sqlite", MissingError, "no such file"),
        ("sql=schema.json", DataError, "not a database"),
        ("search=nowhere", MissingError, "no such index"),
        ("nowhere.py:f", MissingError, "no such file"),
        ("double.py:triple", LlmkitError, "no function triple"),
        ("./args.sh", DataError, "not an object"),  # which prints something else when asked for its schema
    ],
)
def test_what_cannot_be_opened_is_told_by_its_kind(tool: str, kind: type[LlmkitError], why: str) -> None:
    with pytest.raises(kind, match=why), open_tools(options(tool)):
        pass


@pytest.mark.parametrize(
    ("more", "kind", "why"),
    [
        ({"schemas": ("other: schema.json",)}, UsageError, "no tool is called so"),
        ({"schemas": ("schema.json",)}, UsageError, "no name and file"),
        ({"schemas": ("echo: nowhere.json",)}, MissingError, "no such file"),
        ({"choice": "ecko"}, UsageError, "--tool-choice ecko"),
        ({"tools": ("./echo.sh", "./echo.sh")}, UsageError, "two tools are called echo"),
    ],
)
def test_flags_that_name_nothing_there_are_refused(
    more: dict[str, Any], kind: type[LlmkitError], why: str
) -> None:
    given = {"tools": ("./echo.sh",), "approve": "auto"} | more
    with pytest.raises(kind, match=why), open_tools(ToolOptions(**given)):
        pass


def test_nothing_to_call_is_nothing_and_a_transcript_without_functions_is_refused() -> None:
    for nothing in (None, ToolOptions()):
        with open_tools(nothing) as box:
            assert box is None
    Path("talk.jsonl").write_text('{"messages": [{"role": "user", "content": "Hi"}]}\n')
    with (
        pytest.raises(DataError, match="no function is called"),
        open_tools(ToolOptions(replay=Path("talk.jsonl"))),
    ):
        pass
