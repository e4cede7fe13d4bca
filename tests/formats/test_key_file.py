"""A server's key in a file: one line, with no end of line in it."""

from pathlib import Path

import pytest

from llmkit.errors import MissingError
from llmkit.formats.key_file import read_key


def test_a_key_is_the_line_without_its_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-ünlike\r\n", encoding="utf-8")
    assert read_key(tmp_path / "key", "--worker-key") == "sk-ünlike"


def test_a_folder_no_file_and_an_empty_one_are_no_keys(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    for name in ("", "empty", "nowhere"):
        with pytest.raises(MissingError) as caught:
            read_key(tmp_path / name, "--worker-key")
        assert caught.value.hint == "--worker-key FILE: its one line is the key"
