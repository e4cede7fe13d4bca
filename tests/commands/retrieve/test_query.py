"""llmkit retrieve query, from its flags to what it prints."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.retrieve.engines_made import Engine, served

Run = Callable[..., Any]
TEXTS = {"a": "# Ants\nant ant ant bee", "b": "ant bee bee and many other words here", "c": "fox"}


@pytest.fixture
def index(llmkit_run: Run, tmp_path: Path) -> Path:
    docs = "".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in TEXTS.items())
    assert llmkit_run("retrieve", "index", "-o", tmp_path / "index", stdin=docs.encode()).status == 0
    return tmp_path / "index"


def documents(done: Any) -> list[str]:
    return [hit["document"] for hit in json.loads(done.out)["hits"]]


def test_records_keep_their_keys_and_get_hits(llmkit_run: Run, index: Path, tmp_path: Path) -> None:
    done = llmkit_run("retrieve", "query", index, stdin=b'{"id": 7, "question": "fox", "k": [1]}\n')
    record = json.loads(done.out)
    assert record["id"] == 7
    assert record["k"] == [1]
    assert [hit["text"] for hit in record["hits"]] == ["fox"]
    (tmp_path / "q.jsonl").write_text('{"body": "ant"}\n')
    done = llmkit_run("retrieve", "query", index, "--jsonl", tmp_path / "q.jsonl", "--field", "body", "-k", 1)
    assert documents(done) == ["a"]


def test_parameters_change_scores(llmkit_run: Run, index: Path) -> None:
    def scores(*flags: object) -> dict[str, float]:
        done = llmkit_run("retrieve", "query", index, "ant bee", "--json", *flags)
        return {hit["document"]: hit["score"] for hit in json.loads(done.out)["hits"]}

    assert scores("--b", "0") != scores() != scores("--k1", "0.5")
    assert scores("--k1", "0")["a"] == scores("--k1", "0")["b"]
    for flags in (("--k1", "nan"), ("--k1", "inf"), ("--b", "nan"), ("--index-timeout", "nan")):
        assert llmkit_run("retrieve", "query", index, "ant", *flags).status == 2


@pytest.mark.parametrize("flag", ["--embed", "--embed-url", "--embed-name", "--embed-key", "--device"])
def test_flags_of_vectors_are_refused_where_words_are_looked_for(
    llmkit_run: Run, index: Path, flag: str
) -> None:
    done = llmkit_run("retrieve", "query", index, "ant", flag, "x")
    assert (done.status, done.out) == (2, b"") and f"{flag} x: " in done.err


def test_text_is_shown_to_a_person(llmkit_run: Run, index: Path) -> None:
    done = llmkit_run("retrieve", "query", index, "ant", "-k", "1")
    assert done.text.startswith("1. 0.")
    assert "a:0-22  Ants\n   # Ants\n   ant ant ant bee\n" in done.text


def test_nothing_found_is_1_and_no_index_is_4(llmkit_run: Run, index: Path, tmp_path: Path) -> None:
    done = llmkit_run("retrieve", "query", index, "zebra")
    assert (done.status, done.out) == (1, b"")
    assert "nothing was found" in done.err
    assert llmkit_run("retrieve", "query", tmp_path / "nowhere", "ant").status == 4


@pytest.mark.parametrize("command", ["query", "context"])
def test_no_queries_are_bad_input_and_no_answer_that_is_no(
    llmkit_run: Run, index: Path, command: str
) -> None:
    done = llmkit_run("retrieve", command, index, stdin=b"\n")
    assert (done.status, done.out) == (3, b"") and "no queries" in done.err


def test_bad_lines_are_kept_and_results_go_to_a_file(llmkit_run: Run, index: Path, tmp_path: Path) -> None:
    lines = b'{"query": "fox"}\n{"other": 1}\n[1]\n'
    assert llmkit_run("retrieve", "query", index, stdin=lines).status == 3
    out, rejects = tmp_path / "out.jsonl", tmp_path / "rejects.jsonl"
    flags = ("-o", out, "--skip-bad", "--rejects", rejects, "--unbuffered")
    done = llmkit_run("retrieve", "query", index, *flags, stdin=lines)
    assert done.status == 0, done.err
    assert len(out.read_text().splitlines()) == 1
    assert len(rejects.read_text().splitlines()) == 2
    assert llmkit_run("retrieve", "query", index, "fox", "-o", out).status == 2
    assert llmkit_run("retrieve", "query", index, "fox", "-o", out, "--force").status == 0


def test_meaning_and_another_ranking_are_asked_for_by_flags(
    llmkit_run: Run, index: Path, spelled_model: Callable[..., Path], tmp_path: Path
) -> None:
    model = spelled_model()
    assert llmkit_run("retrieve", "query", index, "ant", "--by", "meaning").status == 4
    grown = llmkit_run("retrieve", "index", "--add", "--embed", model, "-o", index)
    assert grown.status == 0, grown.err
    model = model.rename(tmp_path / "moved")

    def hits(*flags: object) -> dict[str, float]:
        done = llmkit_run("retrieve", "query", index, "ant", "--json", *flags)
        assert done.status == 0, done.err
        return {hit["document"]: hit["score"] for hit in json.loads(done.out)["hits"]}

    assert set(hits()) == {"a", "b"}
    meaning = hits("--by", "meaning", "--embed", model, "--device", "cpu")
    assert set(meaning) == {"a", "b", "c"}
    both = hits("--by", "both", "--embed", model, "-k", 1)
    assert max(both.values()) <= 1 / 6
    ranked = hits("--rerank", model, "--device", "cpu")
    assert set(ranked) == {"a", "b"}
    assert all(score < 0 for score in ranked.values())
    assert len(hits("--rerank", model, "--candidates", 1, "-k", 1)) == 1
    assert llmkit_run("retrieve", "query", index, "ant", "--by", "meaning").status == 4
    assert llmkit_run("retrieve", "query", index, "ant", "--embed", model).status == 2
    assert llmkit_run("retrieve", "query", index, "ant", "--candidates", 3).status == 2
    assert llmkit_run("retrieve", "query", index, "ant", "--rerank", model, "--device", "x").status == 2


def test_an_engine_is_asked_with_the_key_of_a_file_and_in_time(llmkit_run: Run, tmp_path: Path) -> None:
    engine = Engine({"a": {"text": "ant ant"}, "b": {"text": "an ant"}})
    engine.authorization = {"authorization": "ApiKey c2VjcmV0"}
    (tmp_path / "key").write_text("c2VjcmV0\n")
    with served(engine) as host:
        address = f"opensearch+http://{host}/docs"
        line = ("retrieve", "query", address, "ant", "--json", "--index-timeout", "5")
        done = llmkit_run(*line, "--index-key", tmp_path / "key")
        assert documents(done) == ["a", "b"]
        done = llmkit_run(*line)
    assert done.status == 6
    assert done.err.startswith(
        f"llmkit: error: {address}: 401: missing authentication credentials\n  hint: --index-key"
    )
    done = llmkit_run(*line)
    assert done.status == 6 and "refused" in done.err


def test_rankings_are_weighed(llmkit_run: Run, index: Path, spelled_model: Callable[..., Path]) -> None:
    model = spelled_model()
    assert llmkit_run("retrieve", "index", "--add", "--embed", model, "-o", index).status == 0

    def ranked(*flags: object) -> list[str]:
        return documents(llmkit_run("retrieve", "query", index, "fox", "--json", *flags))

    meaning = ranked("--by", "meaning")
    assert ranked("--by", "both", "--meaning-weight", "1") == meaning
    assert ranked("--by", "both", "--meaning-weight", "0")[0] == "c"
    assert llmkit_run("retrieve", "query", index, "fox", "--meaning-weight", "1").status == 2
    assert llmkit_run("retrieve", "query", index, "fox", "--by", "both", "--meaning-weight", "2").status == 2
