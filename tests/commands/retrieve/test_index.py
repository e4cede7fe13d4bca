"""llmkit retrieve index, from its flags to what it prints."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
DOCS = '{"id": "a", "body": "one ant"}\n{"id": "b", "body": "two bees"}\n'


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    path = tmp_path / "docs.jsonl"
    path.write_text(DOCS)
    return path


def test_flags_reach_the_index(llmkit_run: Run, docs: Path, tmp_path: Path, byte_level_dir: Path) -> None:
    index = tmp_path / "index"
    done = llmkit_run(
        *("retrieve", "index", docs, "-o", index, "--field", "body", "-t", byte_level_dir),
        *("--chunk", "1k", "--overlap", "4", "--json", "-q"),
    )
    assert done.status == 0, done.err
    assert json.loads(done.out)["schema"] == "llmkit.retrieve.index/1"
    shown = llmkit_run("retrieve", "query", index, "bees", "--json")
    assert json.loads(shown.out)["hits"][0]["document"] == "b"


def test_an_empty_stdin_makes_up_no_document(llmkit_run: Run, tmp_path: Path) -> None:
    done = llmkit_run("retrieve", "index", "-o", tmp_path / "index", stdin=b"")
    assert done.status == 0 and done.text.startswith("0 added; 0 documents")


def test_rows_of_parquet_are_indexed(llmkit_run: Run, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    rows = [json.loads(line) for line in DOCS.splitlines()]
    pytest.importorskip("pyarrow.parquet").write_table(
        pyarrow.Table.from_pylist(rows), tmp_path / "docs.parquet"
    )
    index = tmp_path / "index"
    done = llmkit_run("retrieve", "index", tmp_path / "docs.parquet", "-o", index, "--field", "body")
    assert done.status == 0 and done.text.startswith("2 added; 2 documents")
    shown = llmkit_run("retrieve", "query", index, "bees", "--json")
    assert json.loads(shown.out)["hits"][0]["document"] == "b"


def test_vectors_are_made_on_a_device(
    llmkit_run: Run, docs: Path, tmp_path: Path, spelled_model: Callable[..., Path]
) -> None:
    line = (
        "retrieve",
        "index",
        docs,
        "-o",
        tmp_path / "index",
        "--field",
        "body",
        "--embed",
        spelled_model(),
    )
    assert llmkit_run(*line, "--device", "nowhere").status == 2
    done = llmkit_run(*line, "--device", "cpu", "--dry-run")
    assert "vectors   from " in done.text and not (tmp_path / "index").exists()
    assert llmkit_run(*line[:-2], "--embed", tmp_path / "nowhere", "--dry-run").status == 4
    assert llmkit_run(*line[:-2], "--device", "cpu").status == 2
    done = llmkit_run(*line, "--device", "cpu")
    assert done.status == 0, done.err
    assert done.text.startswith("2 added, 2 embedded; 2 documents")


@pytest.mark.parametrize(
    ("flags", "status", "says"),
    [
        (("--embed-url", "server:8000"), 2, "--embed-url server:8000: no URL"),
        (("--embed-url", "http://x", "--embed-key", "nowhere"), 4, "nowhere: no such file"),
        (("--embed-url", "http://x", "--embed", "run"), 2, "--embed and --embed-url exclude each other"),
        (("--embed-name", "m"), 2, "are of a server, and none is given"),
        (("--embed", "run", "--embed-name", "m"), 2, "--embed-name is of a server, not of --embed"),
    ],
)
def test_a_server_of_vectors_that_cannot_be_is_said_before_anything_is_read(
    llmkit_run: Run, docs: Path, tmp_path: Path, flags: tuple[str, ...], status: int, says: str
) -> None:
    done = llmkit_run("retrieve", "index", docs, "-o", tmp_path / "i", *flags)
    assert (done.status, done.out) == (status, b"") and says in done.err
    assert not (tmp_path / "i").exists()


def test_stdin_and_bad_lines(llmkit_run: Run, tmp_path: Path) -> None:
    index, rejects = tmp_path / "index", tmp_path / "rejects.jsonl"
    content = DOCS.encode() + b"{broken\n"
    assert llmkit_run("retrieve", "index", "-o", index, "--field", "body", stdin=content).status == 3
    assert not index.exists()
    done = llmkit_run(
        *("retrieve", "index", "-", "-o", index, "--field", "body", "--skip-bad", "--rejects", rejects),
        stdin=content,
    )
    assert done.status == 0
    assert "2 added, 1 rejected; 2 documents in 2 passages" in done.text
    assert json.loads(rejects.read_text())["_reject"]["line"] == 3


def test_vectors_are_given_to_an_index_where_stdin_is_closed(
    llmkit_run: Run, docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmkit.cli import run

    index = tmp_path / "index"
    assert llmkit_run("retrieve", "index", docs, "--field", "body", "-o", index).status == 0
    monkeypatch.setattr(sys, "stdin", None)
    assert run(["retrieve", "index", "--add", "--embed", str(tmp_path / "none"), "-o", str(index)]) == 4


def test_add_delete_and_force(llmkit_run: Run, docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    index_line = ("retrieve", "index", docs, "--field", "body", "-o", index)
    assert llmkit_run(*index_line).status == 0
    assert llmkit_run(*index_line).status == 2
    assert "2 added" in llmkit_run(*index_line, "--force").text
    assert "0 added, 2 unchanged" in llmkit_run(*index_line, "--add").text
    for flags in (("--chunk", 512), ("--overlap", 8), ("--chunk", 512, "--dry-run")):
        done = llmkit_run(*index_line, "--add", *flags)
        assert done.status == 2 and f"{flags[0]} {flags[1]}: {index} has {flags[0]}" in done.err
    assert llmkit_run(*index_line, "--add", "--chunk", 256, "--overlap", 32).status == 0
    docs.write_text(DOCS.replace("}", ', "source": "new"}', 1))
    assert "0 added, 1 updated, 1 unchanged" in llmkit_run(*index_line, "--add").text
    done = llmkit_run("retrieve", "index", "--delete", "a", "-o", index, stdin=b"")
    assert "1 deleted; 1 document in 1 passage" in done.text
    assert llmkit_run("retrieve", "index", "--delete", "a", "-o", index).status == 4


def test_a_file_whose_name_is_no_utf_8_is_taken_out_by_that_name(llmkit_run: Run, tmp_path: Path) -> None:
    note = tmp_path / os.fsdecode(b"caf\xe9.txt")
    note.write_text("one ant")
    assert llmkit_run("retrieve", "index", note, "-o", tmp_path / "i").status == 0
    done = llmkit_run("retrieve", "index", "--delete", note, "-o", tmp_path / "i", stdin=b"")
    assert "1 deleted; 0 documents" in done.text
