"""What is wrong with a record is told with its place."""

from pathlib import Path

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.formats.jsonl import decode_all, read_records
from llmkit.workflows.eval.task_lines import at_line, check_examples


def test_an_error_inside_has_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"b": [2, "x"]}\n')
    first, second = read_records(path)
    assert (decode_all(first), decode_all(second)) == ({"a": 1}, {"b": [2, "x"]})
    with pytest.raises(DataError, match=r"a.jsonl:2: no way") as told, at_line(second):
        raise DataError("no way", hint="another")
    assert told.value.hint == "another"


def test_examples_and_their_file_go_together() -> None:
    check_examples(0, None, "usage")
    check_examples(2, Path("dev"), "usage")
    with pytest.raises(UsageError, match="--shots needs --dev FILE"):
        check_examples(2, None, "usage")
    with pytest.raises(UsageError, match="--dev needs --shots N"):
        check_examples(0, Path("dev"), "usage")
