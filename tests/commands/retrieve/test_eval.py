"""llmkit retrieve eval, from its flags to what it prints."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
ASKED = b'{"ask": "ant", "gold": ["a"]}\n{"ask": "bee", "gold": {"b": 2, "z": 1}}\n'


@pytest.fixture
def index(llmkit_run: Run, tmp_path: Path) -> Path:
    docs = b'{"id": "a", "text": "ant"}\n{"id": "b", "text": "ant ant bee"}\n'
    assert llmkit_run("retrieve", "index", "-o", tmp_path / "index", stdin=docs).status == 0
    return tmp_path / "index"


def test_an_index_is_searched_and_what_is_found_judged(llmkit_run: Run, index: Path, tmp_path: Path) -> None:
    line = ("retrieve", "eval", "--index", index, "--field", "ask", "--relevant", "gold")
    each = tmp_path / "each.jsonl"
    done = llmkit_run(*line, "--json", "--per-record", each, stdin=ASKED)
    report = json.loads(done.out)
    assert (report["queries"], report["recall"]) == (2, 0.75)
    assert [json.loads(row)["recall"] for row in each.read_text().splitlines()] == [1.0, 0.5]
    assert llmkit_run(*line, "--per-record", each, stdin=ASKED).status == 2
    assert llmkit_run(*line, "--per-record", each, "--force", stdin=ASKED).status == 0
    assert json.loads(llmkit_run(*line, "--json", "-k", 1, stdin=ASKED).out)["k"] == 1
    scores = [
        json.loads(llmkit_run(*line, "--json", *flags, stdin=ASKED).out)["mrr"] for flags in ((), ("--b", 0))
    ]
    assert scores[0] > scores[1]
    assert llmkit_run(*line, "--k1", "-1", stdin=ASKED).status == 2


def test_documents_below_one_of_many_passages_are_judged(llmkit_run: Run, tmp_path: Path) -> None:
    book = {"id": "book", "text": "\n\n".join(f"bee bee bee word{number}." for number in range(200))}
    others = [{"id": f"d{number}", "text": f"bee and much else of number {number}"} for number in range(9)]
    docs = "".join(json.dumps(one) + "\n" for one in (book, *others)).encode()
    made = llmkit_run(*("retrieve", "index", "-o", tmp_path / "i", "--chunk", 8, "--overlap", 0), stdin=docs)
    assert made.status == 0, made.err
    asked = b'{"query": "bee", "relevant": ["d0", "d1"]}\n'
    report = json.loads(llmkit_run("retrieve", "eval", "--index", tmp_path / "i", "--json", stdin=asked).out)
    # the book first, then d0 and d1: (1 / log2(3) + 1 / log2(4)) / (1 + 1 / log2(3))
    assert (report["recall"], report["mrr"]) == (1.0, 0.5)
    assert report["ndcg"] == pytest.approx((0.63093 + 0.5) / (1 + 0.63093), abs=1e-5)


def test_hits_that_were_found_before_are_judged_and_the_gate_is_1(llmkit_run: Run, index: Path) -> None:
    found = llmkit_run("retrieve", "query", index, "--field", "ask", stdin=ASKED).out
    line = ("retrieve", "eval", "--field", "ask", "--relevant", "gold")
    done = llmkit_run(*line, stdin=found)
    assert done.status == 0
    assert "recall@10 0.750" in done.text
    assert "of 2 queries" in done.text
    for share in ("nan", 80, -1):
        assert llmkit_run(*line, "--min-recall", share, stdin=found).status == 2
    for flags in (("--k1", 2.5), ("--by", "both"), ("--rerank", "nowhere"), ("--device", "cpu")):
        done = llmkit_run(*line, *flags, stdin=found)
        assert done.status == 2 and f"{flags[0]} {flags[1]}: " in done.err and "--index INDEX" in done.err
    done = llmkit_run(*line, "--min-recall", 0.8, stdin=found)
    assert done.status == 1
    assert "recall@10 0.750 is below 0.8" in done.err


def test_what_is_found_by_meaning_and_ranked_again_is_judged(
    llmkit_run: Run, index: Path, spelled_model: Callable[..., Path]
) -> None:
    model = spelled_model()
    assert llmkit_run("retrieve", "index", "--add", "--embed", model, "-o", index).status == 0
    line = ("retrieve", "eval", "--index", index, "--json")
    asked = b'{"query": "zebra", "relevant": ["a", "b"]}\n'
    assert json.loads(llmkit_run(*line, stdin=asked).out)["recall"] == 0.0
    flags = ("--by", "both", "--embed", model, "--rerank", model, "--candidates", 2, "--device", "cpu")
    assert json.loads(llmkit_run(*line, *flags, stdin=asked).out)["recall"] == 1.0


@pytest.mark.parametrize("indexed", [True, False])
def test_figures_never_take_the_place_of_the_queries_or_the_index(
    llmkit_run: Run, index: Path, tmp_path: Path, indexed: bool
) -> None:
    asked = tmp_path / "asked.jsonl"
    asked.write_bytes(ASKED if indexed else llmkit_run("retrieve", "query", index, stdin=ASKED).out)
    line = ("retrieve", "eval", asked, "--field", "ask", "--relevant", "gold", "--force")
    line = (*line, "--index", index) if indexed else line
    for path in (asked, index) if indexed else (asked,):
        before = path.read_bytes()
        done = llmkit_run(*line, "--per-record", path)
        assert done.status == 2 and "also an input" in done.err and path.read_bytes() == before
