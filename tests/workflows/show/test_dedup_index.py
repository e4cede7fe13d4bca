"""What show says of an index of dedup, and doctor of what is wrong with one."""

from pathlib import Path

import pytest

from llmkit.commands.show.text import report_text
from llmkit.errors import DataError
from llmkit.workflows.artefact import recognise
from llmkit.workflows.doctor.doctor import diagnose
from llmkit.workflows.show.dedup_index import show_dedup_index
from llmkit.workflows.show.show import show_artefact
from tests.workflows.deduping import dedup, write_rows


@pytest.fixture
def index(tmp_path: Path) -> Path:
    rows = [{"id": name, "text": f"{name} b c d e f g", "source": "web"} for name in "xyz"]
    dedup(tmp_path / "out", [write_rows(tmp_path / "in.jsonl", rows)], save_index=tmp_path / "ia")
    return tmp_path / "ia"


def test_an_index_of_dedup_is_no_folder_of_shards(index: Path) -> None:
    assert recognise(index).kind == recognise(index / "index.json").kind == "dedup-index"
    report = show_artefact(index)
    assert report == show_dedup_index(index)
    assert (report.documents, report.by, report.sources) == (3, "near", ["web"])
    assert report.made_with == {"ngram": 5, "unit": "word", "bands": 14, "rows": 8}
    text = report_text(report, width=100, color=False)
    assert "dedup index" in text and "near: ngram 5, unit word, bands 14, rows 8" in text


def test_doctor_finds_nothing_in_a_sound_one_and_what_is_cut_short(index: Path) -> None:
    assert diagnose([index]).findings == []
    (index / "documents.facts").write_bytes(b"")
    assert [one.check for one in diagnose([index]).findings] == ["dedup-index.opens"]
    with pytest.raises(DataError, match="cut short or damaged"):
        show_dedup_index(index)
