"""Programs as tools: JSON in, JSON out, and what is made of anything else."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import DataError, LlmkitError
from llmkit.retrieve.tools.config import ToolError, ToolLimits, ToolSpec
from llmkit.retrieve.tools.program import ProgramTool, ask_schema, result_text

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(script: str) -> Path:
        path = tmp_path / "prog"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


def test_the_arguments_are_its_stdin_and_its_stdout_is_the_result(write: Write) -> None:
    tool = ProgramTool(ToolSpec("echo", "", {}), (str(write("cat")),), ToolLimits())
    given = {"text": 'a "quoted" ü\n', "list": [1, None]}
    assert json.loads(tool.call(given)) == given


def test_a_text_is_read_as_it_is_and_everything_else_as_compact_json() -> None:
    assert result_text(b'"four"\n') == "four"
    assert result_text(b'{\n  "a": [1, 2.50]\n}') == '{"a": [1, 2.5]}'
    assert result_text(b"null") == "null"


@pytest.mark.parametrize("content", [b"", b"four", b"{", b"\xff\xfe", b"1 2", b"NaN", b"[" * 100_000])
def test_a_result_that_is_not_json_is_an_error_for_the_model(content: bytes) -> None:
    with pytest.raises(ToolError, match="not JSON"):
        result_text(content)


def test_its_schema_is_asked_of_it(write: Write) -> None:
    path = write("""[ "$1" = --schema ] && echo '{"description": "d", "parameters": {"type": "object"}}'""")
    assert ask_schema([str(path)], "f") == ToolSpec("f", "d", {"type": "object", "properties": {}})


def test_one_that_has_no_schema_says_how_to_give_it_one(write: Write) -> None:
    with pytest.raises(LlmkitError, match="failed with status 2: what") as caught:
        ask_schema([str(write("echo what >&2; exit 2"))], "f")
    assert "--tool-schema 'f: FILE.json'" in caught.value.hint
    with pytest.raises(DataError, match="not JSON"):
        ask_schema([str(write("echo usage: prog"))], "f")
