import gzip
from pathlib import Path

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.formats.text_file import read_text_file


def test_a_text_comes_as_it_is_also_out_of_gzip(tmp_path: Path) -> None:
    text = "Straße\r\n\n東京 "
    (tmp_path / "plain").write_bytes(text.encode())
    (tmp_path / "packed").write_bytes(gzip.compress(text.encode()))
    assert read_text_file(tmp_path / "plain") == read_text_file(tmp_path / "packed") == text


def test_the_byte_that_is_no_text_and_its_place_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin1").write_bytes("café".encode("latin1"))
    with pytest.raises(DataError, match=r"latin1: not UTF-8 \(found byte 0xe9 at offset 3\)") as caught:
        read_text_file(tmp_path / "latin1", hint="do this")
    assert caught.value.hint == "do this"
    with pytest.raises(MissingError, match="nowhere: no such file"):
        read_text_file(tmp_path / "nowhere")
