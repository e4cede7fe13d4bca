from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.formats.gguf.values import Typed
from llmkit.formats.gguf.write import write_gguf
from llmkit.workflows.show.metadata import metadata_of


def test_long_arrays_are_whole_and_bytes_that_are_no_utf_8_are_spelled_out(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    values = list(range(3000))
    with path.open("wb") as stream:
        write_gguf(stream, {"a.numbers": Typed("i32", values), "a.words": ["é", "xx"]}, [])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"xx", b"x\xff"))
    found = {one.key: (one.type, one.value) for one in metadata_of(path)}
    assert found["a.numbers"] == ("i32[]", values)
    assert found["a.words"] == ("str[]", ["é", "x\\xff"])


def test_a_text_file_has_no_keys(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a text\n")
    with pytest.raises(UsageError, match="no keys and values"):
        list(metadata_of(tmp_path / "a.txt"))
