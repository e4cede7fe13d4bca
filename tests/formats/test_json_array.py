import json
import subprocess
from pathlib import Path

import pytest

from llmkit.formats.json_array import array_error, begins_array, may_begin_array
from llmkit.formats.streams import open_output


def test_an_array_of_records_is_told_from_text_in_brackets_and_from_other_data() -> None:
    for start in (b'[{"text":', b'[ \n{ "id": {"a": 1}, "messages" : [', b'[{"instruction": "a"}]'):
        assert begins_array(start)
    for start in (b"[1", b"[{{ x", b"[] is a box", b'["a"]', b'{"a": [{"', b"[", b"[{", b"[]", b"[{}]"):
        assert not begins_array(start)
    assert not begins_array(b'[{"id": 1, "name": "a fixture of a program"}, {"id": 2, "name": "text"}]')
    assert not begins_array(b'[{"id": "' + b"x" * 5000 + b'", "text": "a"}]')


def test_more_is_waited_for_only_while_it_may_still_be_one() -> None:
    for start in (b"[", b"[ \n", b"[{", b"[{ ", b'[{"', b'[{"id": 1, "na'):
        assert may_begin_array(start)
    for start in (b"", b"{", b"[1", b"[{{", b"[] i", b'[{"text":', b'[{"id": 1}', b'[{"id": "' + b"x" * 5000):
        assert not may_begin_array(start)


@pytest.mark.parametrize("name", ["a.json", "b.json.zst", "c.gz", "d", "my own.json", "it's.json.zst"])
def test_the_hint_makes_lines_of_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with open_output(path) as stream:
        stream.write(b'[{"text": "one"},\n {"text": "two"}]')
    subprocess.run(array_error(path).hint, shell=True, check=True)
    (lines,) = tmp_path.glob("*.jsonl")
    assert [json.loads(line)["text"] for line in lines.read_text().splitlines()] == ["one", "two"]


def test_stdin_is_called_so() -> None:
    error = array_error(None)
    assert error.problem == "stdin: one JSON array, not lines of JSON objects"
    assert error.hint == "jq -c '.[]' FILE | llmkit COMMAND"
