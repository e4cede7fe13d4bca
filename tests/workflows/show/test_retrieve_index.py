"""What show says of an index of retrieve, and doctor of what is wrong with one."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from llmkit.commands.show.text import report_text
from llmkit.errors import DataError
from llmkit.retrieve.config import IndexConfig
from llmkit.workflows.artefact import recognise
from llmkit.workflows.doctor.doctor import diagnose
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.show.retrieve_index import show_retrieve_index
from llmkit.workflows.show.show import show_artefact


@pytest.fixture
def index(tmp_path: Path) -> Path:
    docs = tmp_path / "docs.jsonl"
    docs.write_text("".join(f'{{"id":"d{n}","text":"Ant {n} carries leaves."}}\n' for n in range(6)))
    index_documents([docs], tmp_path / "ants", IndexConfig(chunk=32, overlap=8))
    return tmp_path / "ants"


def test_an_index_of_passages_is_told_with_the_ids_that_delete_takes(index: Path) -> None:
    assert recognise(index).kind == "retrieve-index"
    report = show_artefact(index)
    assert report == show_retrieve_index(index)
    assert (report.documents, report.passages, report.first_ids) == (6, 6, ["d0", "d1", "d2", "d3"])
    assert (report.settings["chunk"], report.settings["overlap"], report.embedding) == (32, 8, None)
    assert report.size_bytes == index.stat().st_size
    text = report_text(report, width=100, color=False)
    assert "retrieval index" in text and "d0, d1, d2, d3 and 2 more" in text and "chunk 32" in text


def test_doctor_finds_nothing_in_a_sound_one_and_what_is_cut_short(index: Path) -> None:
    assert diagnose([index]).findings == []
    index.write_bytes(index.read_bytes()[: 1 << 14])
    assert [one.check for one in diagnose([index]).findings] == ["retrieve-index.opens"]


def test_another_programs_database_is_no_index(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other")) as database:
        database.execute("CREATE TABLE t (x)")
    with pytest.raises(DataError, match="not an index of llmkit"):
        show_artefact(tmp_path / "other")
