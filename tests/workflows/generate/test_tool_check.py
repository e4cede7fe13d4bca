"""What answers with calls in them cannot do is refused before anything is read."""

from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import UsageError
from llmkit.formats.jsonl import Line, raw
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.tool_check import check_tool_options, check_tool_row


@pytest.mark.parametrize(
    ("flag", "config", "files"),
    [
        ("--logprobs", {"sampling": {"logprobs": 2}}, {}),
        ("--mark-below", {"mark_below": 0.1}, {}),
        ("--echo", {"echo": True}, {}),
        ("--prefill", {"prefill": "x"}, {}),
        ("--resume", {}, {"resume": True}),
        ("--unordered", {"unordered": True}, {}),
        ("--batch", {"batch": 4}, {}),
    ],
)
def test_flags_of_texts_that_are_written_at_once_or_token_by_token(
    flag: str, config: dict[str, Any], files: dict[str, Any]
) -> None:
    plain = GenerateFiles(model=Path("m"), prompt="Hi")
    check_tool_options(plain, GenerateConfig(chat=True))
    with pytest.raises(UsageError, match=f"--tool and {flag} exclude each other"):
        check_tool_options(GenerateFiles(model=Path("m"), **files), GenerateConfig(chat=True, **config))


def test_where_there_are_no_tools_every_row_passes() -> None:
    check_tool_row(Line({"tokens": raw([1])}, "rows.jsonl", 1), None)
