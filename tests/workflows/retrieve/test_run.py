"""What surrounds a search: queries in, results out."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.retrieve.config import IndexConfig
from llmkit.workflows.retrieve.embedding import EmbedOptions
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.retrieve.run import RetrieveOptions, open_run
from llmkit.workflows.retrieve.search import SearchOptions


@pytest.fixture
def index(tmp_path: Path) -> Path:
    (tmp_path / "d.jsonl").write_text(
        '{"id": "a", "text": "one ant"}\n{"id": "b", "text": "two ants, one bee"}\n'
    )
    index_documents([tmp_path / "d.jsonl"], tmp_path / "i", IndexConfig())
    return tmp_path / "i"


def test_queries_of_all_files_are_answered_in_order(index: Path, tmp_path: Path) -> None:
    for name, text in (("p", "ant"), ("q", "bee")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"query": text, "of": name}) + "\n")
    out = tmp_path / "out.jsonl"
    paths = (tmp_path / "q.jsonl", tmp_path / "p.jsonl")
    with open_run("test", RetrieveOptions(index=index, queries=paths, out=out, most=1)) as run:
        for query, hits in run.answers():
            run.write_record(query, documents=[hit.document for hit in hits])
        assert run.found == 2
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["of"], row["documents"]) for row in rows] == [("q", ["b"]), ("p", ["a"])]


def test_an_output_that_is_the_index_or_another_input_is_refused(index: Path, tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text("")
    for out in (index, tmp_path / "t.jinja"):
        options = RetrieveOptions(index=index, text="ant", out=out, force=True)
        with (
            pytest.raises(UsageError, match="also an input"),
            open_run("test", options, [tmp_path / "t.jinja"]),
        ):
            pass


def test_an_output_that_is_of_a_model_that_is_read_is_refused(
    index: Path, spelled_model: Callable[..., Path]
) -> None:
    model = spelled_model()
    before = (model / "config.json").read_bytes()
    options = RetrieveOptions(
        index=index,
        text="ant",
        out=model / "config.json",
        force=True,
        search=SearchOptions(rerank=model),
    )
    with pytest.raises(UsageError, match="in the input"), open_run("test", options):
        pass
    assert (model / "config.json").read_bytes() == before


def test_what_a_search_reads_is_its_models_and_keys() -> None:
    model, key, judge = Path("m"), Path("k"), Path("r")
    assert SearchOptions(by="both", embed=EmbedOptions(model=model), rerank=judge).files == [model, judge]
    embed = EmbedOptions(url="http://h", key=key)
    assert SearchOptions(by="both", embed=embed, key=model).files == [key, model]
