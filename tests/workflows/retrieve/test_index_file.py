"""The file of an index: whole or not there, and named in every error."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.retrieve.passages import Passage
from llmkit.workflows.retrieve.index_file import changed_index, created_index, open_index

SETTINGS: dict[str, Any] = {"chunk": 8, "overlap": 0, "field": "text", "tokenizer_sha256": None}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index of nothing."""
    path = tmp_path / "index"
    with created_index(path, SETTINGS, force=False, inputs=[]) as store:
        store.commit()
    return path


def test_an_index_is_read_with_the_settings_it_was_made_with(index: Path) -> None:
    with open_index(index) as store:
        assert store.settings == SETTINGS and store.num_documents == 0


def test_files_that_are_no_index_are_refused(index: Path, tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text('{"text": "a"}\n' * 99)
    for opens in (open_index, changed_index):
        with pytest.raises(MissingError, match=r"nowhere: no "), opens(tmp_path / "nowhere"):
            pass
        with pytest.raises(DataError, match=r"docs.jsonl: not an index"), opens(tmp_path / "docs.jsonl"):
            pass
    with (
        pytest.raises(UsageError, match="already exists"),
        created_index(index, SETTINGS, force=False, inputs=[]),
    ):
        pass


def test_what_fails_half_way_leaves_no_file_and_no_change(index: Path, tmp_path: Path) -> None:
    before = index.read_bytes()
    with pytest.raises(KeyError), created_index(tmp_path / "new", SETTINGS, force=False, inputs=[]):
        raise KeyError
    with pytest.raises(KeyError), changed_index(index) as store:
        store.add("a", "digest", b"{}", "text", [])
        raise KeyError
    assert [one.name for one in tmp_path.iterdir()] == ["index"]
    with open_index(index) as store:
        assert store.num_documents == 0
    assert index.read_bytes() == before


def test_a_writer_who_waits_for_another_says_which_file(index: Path) -> None:
    other = sqlite3.connect(index)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DataError, match=r"index: .*locked"), open_index(index):
        pass
    other.close()


@pytest.mark.parametrize(
    ("mode", "change", "said"),
    [(0o000, "open_index(path)", "may not be read"), (0o444, "changed_index(path)", "may not be written")],
)
def test_an_index_that_its_permissions_shut_is_named(index: Path, mode: int, change: str, said: str) -> None:
    index.chmod(mode)
    program = f"""if True:
        import sys; from pathlib import Path; from llmkit.workflows.retrieve.index_file import *
        path = Path(sys.argv[1])
        with {change}: pass"""
    bound = [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    done = subprocess.run(
        [*bound, sys.executable, "-c", program, str(index)], capture_output=True, text=True, check=False
    )
    assert f"UsageError: {index}: {said}" in done.stderr


def test_an_index_that_outgrows_what_a_file_may_hold_is_no_bad_data(tmp_path: Path) -> None:
    program = """if True:
        import resource, sys; from pathlib import Path; from llmkit.workflows.retrieve.index_file import *
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with created_index(Path(sys.argv[1]), {}, force=False, inputs=[]) as store:
            store.database.execute("CREATE TABLE much AS SELECT zeroblob(1000000)")"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "index")], capture_output=True, text=True, check=False
    )
    assert f"ResourceError: {tmp_path / 'index'}: file too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN IMMEDIATE")
database.execute("DELETE FROM meta")
for number in range(2000):
    database.execute("INSERT INTO meta VALUES (?, ?)", (f"x{number}", "y" * 500))
os.kill(os.getpid(), signal.SIGKILL)
"""


def _kill_a_change(index: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(index)], check=False)
    assert index.with_name("index-journal").stat().st_size > 0


def test_a_change_that_was_killed_is_undone_by_who_reads_next(index: Path) -> None:
    before = index.read_bytes()
    _kill_a_change(index)
    assert index.read_bytes() != before
    with open_index(index) as store:
        assert store.settings == SETTINGS
    assert index.read_bytes() == before


def test_a_change_that_was_killed_is_told_where_it_cannot_be_undone(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kill_a_change(index)
    plain, address = sqlite3.connect, f"{index.as_uri()}?mode=ro"
    monkeypatch.setattr(sqlite3, "connect", lambda *_, **__: plain(address, uri=True))
    with pytest.raises(DataError, match="index: a change was cut off, and is undone"), open_index(index):
        pass


def test_an_index_is_read_while_megabytes_are_added_to_it(index: Path) -> None:
    with changed_index(index) as changed, open_index(index) as store:
        for number in range(1000):
            changed.add(str(number), "digest", b"{}", "text " * 2000, [Passage(0, 10_000, "")])
        changed.flush()
        assert store.num_documents == 0
        changed.commit()
        assert store.num_documents == 1000
