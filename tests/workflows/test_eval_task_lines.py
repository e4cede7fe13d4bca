"""What is wrong with a record is told with its place."""

from pathlib import Path

import pytest

from llmkit.errors import DataError
from llmkit.formats.jsonl import read_records
from llmkit.workflows.eval_task_lines import at_line, decoded


def test_an_error_inside_has_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"b": [2, "x"]}\n')
    first, second = read_records(path)
    assert (decoded(first), decoded(second)) == ({"a": 1}, {"b": [2, "x"]})
    with pytest.raises(DataError, match=r"a.jsonl:2: no way") as told, at_line(second):
        raise DataError("no way", hint="another")
    assert told.value.hint == "another"
