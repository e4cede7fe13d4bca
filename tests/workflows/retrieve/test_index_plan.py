"""What indexing would make, beside what it makes."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.retrieve.config import IndexConfig
from llmkit.workflows.retrieve.embedding import EmbedOptions
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.retrieve.index_plan import plan_index

CUT = IndexConfig(chunk=32, overlap=8)


def _docs(path: Path, count: int, words: int = 60) -> Path:
    rows = [{"id": str(n), "text": f"Ant {n} carries leaves. " * words} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_of_a_small_input_the_plan_is_what_comes_of_it_and_nothing_is_written(tmp_path: Path) -> None:
    docs = _docs(tmp_path / "docs.jsonl", 20)
    plan = plan_index([docs], tmp_path / "index", CUT)
    assert not (tmp_path / "index").exists()
    report = index_documents([docs], tmp_path / "index", CUT)
    assert (
        (plan.about_documents, plan.about_passages)
        == (report.documents, report.passages)
        == (20, report.passages)
    )
    assert plan.about_output_bytes == report.size_bytes and plan.input_bytes == docs.stat().st_size


def test_of_a_large_one_it_is_scaled_up_from_the_first_megabyte(tmp_path: Path) -> None:
    docs = _docs(tmp_path / "docs.jsonl", 2000)
    plan = plan_index([docs], tmp_path / "index", CUT)
    report = index_documents([docs], tmp_path / "index", CUT)
    assert docs.stat().st_size > 2 << 20
    assert plan.about_documents == pytest.approx(2000, rel=0.03)
    assert plan.about_passages == pytest.approx(report.passages, rel=0.03)
    assert plan.about_output_bytes == pytest.approx(report.size_bytes, rel=0.1)


def test_a_change_is_checked_against_the_index_that_is_there(tmp_path: Path) -> None:
    docs, index = _docs(tmp_path / "docs.jsonl", 3), tmp_path / "index"
    with pytest.raises(MissingError):
        plan_index([docs], index, CUT, add=True)
    index_documents([docs], index, CUT)
    before = index.read_bytes()
    with pytest.raises(UsageError, match="already exists"):
        plan_index([docs], index, CUT)
    with pytest.raises(MissingError, match="no document 'x'"):
        plan_index([docs], index, CUT, delete=("x",))
    plan = plan_index([docs], index, IndexConfig(chunk=99, overlap=9), add=True, delete=("1",))
    assert plan.changes and (plan.chunk, plan.overlap) == (32, 8) and index.read_bytes() == before


def test_vectors_are_planned_after_the_checks_that_their_model_gets(
    tmp_path: Path, spelled_model: Callable[..., Path]
) -> None:
    docs, index, model = _docs(tmp_path / "docs.jsonl", 3), tmp_path / "index", spelled_model()
    with pytest.raises(MissingError, match="nowhere"):
        plan_index([docs], index, CUT, embed=EmbedOptions(model=tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="--embed-name"):
        plan_index([docs], index, CUT, embed=EmbedOptions(name="m"))
    with pytest.raises(UsageError, match="device"):
        plan_index([docs], index, CUT, embed=EmbedOptions(model=model, device="nowhere"))
    plan = plan_index([docs], index, CUT, embed=EmbedOptions(model=model))
    index_documents([docs], index, CUT, embed=EmbedOptions(model=model))
    with closing(sqlite3.connect(index)) as database:
        (stored,) = database.execute("SELECT sum(length(vector)) FROM vectors").fetchone()
    assert plan.embedding == str(model) and plan.about_vector_bytes == stored

    other = spelled_model("other", num_hidden_layers=1)
    with pytest.raises(DataError, match="not the model that"):
        plan_index([docs], index, CUT, add=True, embed=EmbedOptions(model=other))
    assert plan_index([docs], index, CUT, add=True).embedding == str(model)  # as what is added gets them too


def test_an_index_without_vectors_gets_them_for_what_it_has_too(
    tmp_path: Path, spelled_model: Callable[..., Path]
) -> None:
    docs, index, model = _docs(tmp_path / "docs.jsonl", 3), tmp_path / "index", spelled_model()
    passages = index_documents([docs], index, CUT).passages
    more = _docs(tmp_path / "more.jsonl", 4)
    plan = plan_index([more], index, CUT, add=True, embed=EmbedOptions(model=model))
    width = json.loads((model / "config.json").read_text())["hidden_size"]
    assert plan.about_passages and plan.about_vector_bytes == 2 * width * (passages + plan.about_passages)
    assert plan_index([more], index, CUT, add=True).embedding is None


def test_bad_lines_are_found_and_of_stdin_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{\n")
    with pytest.raises(DataError, match=r"bad\.jsonl:1"):
        plan_index([tmp_path / "bad.jsonl"], tmp_path / "index", CUT)
    plan = plan_index([Path("-")], tmp_path / "index", CUT)
    assert plan.input_bytes is plan.about_passages is plan.about_seconds is None


def test_an_index_in_the_place_of_a_file_of_its_model_is_refused(
    tmp_path: Path, spelled_model: Callable[..., Path]
) -> None:
    docs, model = _docs(tmp_path / "docs.jsonl", 1), spelled_model()
    before = (model / "config.json").read_bytes()
    for make in (plan_index, index_documents):
        with pytest.raises(UsageError, match="in the input"):
            make([docs], model / "config.json", CUT, embed=EmbedOptions(model=model), force=True)
    assert (model / "config.json").read_bytes() == before
