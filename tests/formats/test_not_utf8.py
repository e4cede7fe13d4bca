"""Files that are no UTF-8."""

import bz2
import lzma
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmkit.formats.not_utf8 import is_utf8, told_by_beginning, utf8_hint

TEXT = "Über den Flüssen.\nEs war einmal.\n"
KINDS: dict[str, tuple[bytes, str]] = {
    "latin1": (TEXT.encode("latin1"), "iconv -f latin1 "),
    "utf-16": (TEXT.encode("utf-16"), "iconv -f utf-16 "),
    "utf-16be": (TEXT[1:].encode("utf-16be"), "iconv -f utf-16be "),
    "utf-16le": (TEXT[1:].encode("utf-16le"), "iconv -f utf-16le "),
    "xz": (lzma.compress(TEXT.encode()), "xz -dc "),
    "bzip2": (bz2.compress(TEXT.encode()), "bzip2 -dc "),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_hint_makes_utf_8_of_the_file(tmp_path: Path, kind: str) -> None:
    content, begins = KINDS[kind]
    path = tmp_path / "my own.txt"
    path.write_bytes(content)
    hint = utf8_hint(path, content[:16])
    assert hint.startswith(begins)
    if shutil.which(hint.split()[0]) is None:
        pytest.skip(f"no {hint.split()[0]} here")
    made = subprocess.run(hint, shell=True, capture_output=True, check=True).stdout.decode()
    assert made == (TEXT[1:] if kind in ("utf-16be", "utf-16le") else TEXT)


def test_stdin_and_unknown_bytes_have_the_usual_one() -> None:
    assert utf8_hint("-") == utf8_hint("stdin", b"a\xe4b") == "iconv -f latin1 -t utf-8 FILE"
    assert utf8_hint("blob", b"PAR1\x15\x04") == "a parquet file: give it a name that ends in .parquet"
    assert told_by_beginning("a.parquet", b"PAR1") == "a parquet file: llmkit clean a.parquet prints its rows"


def test_what_no_command_makes_text_of_is_not_sent_to_iconv(tmp_path: Path) -> None:
    path = tmp_path / "an index"
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table t (x)")
    hint = utf8_hint(path, path.read_bytes()[:16])
    assert hint == f"an SQLite database, which is no text: llmkit show '{path}' says what it holds"
    assert utf8_hint("a.gguf", b"GGUF\x03\0\0\0").startswith(
        "a GGUF file, which is no text: llmkit show a.gguf"
    )


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_arrow_files_are_told_by_how_they_begin(tmp_path: Path, kind: str) -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"text": ["a"]})
    path = tmp_path / "data-00000-of-00001.arrow"
    make = arrow.ipc.new_file if kind == "file" else arrow.ipc.new_stream  # datasets saves the latter
    with make(str(path), table.schema) as writer:
        writer.write_table(table)
    assert utf8_hint(path, path.read_bytes()[:16]).startswith("an Arrow file")


@pytest.mark.parametrize(
    "line",
    [
        ("clean", "a.txt"),
        ("dedup", "a.txt"),
        ("train-tokenizer", "a.txt", "-o", "tok"),
        ("show", "a.txt"),
    ],
    ids=lambda words: words[0],
)
def test_commands_that_read_text_give_it(
    llmkit_run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_bytes(KINDS["utf-16"][0])
    done = llmkit_run(*line)
    assert done.status == 3 and done.err.splitlines()[-1].startswith("  hint: iconv -f utf-16 -t utf-8 a.txt")


def test_a_word_of_other_bytes_is_no_utf_8() -> None:
    assert is_utf8("") and is_utf8("é日😀\0")
    assert not is_utf8(os.fsdecode(b"caf\xe9"))
