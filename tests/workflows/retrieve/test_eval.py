"""Judging what was found."""

import json
from pathlib import Path

import pytest

from llmkit.errors import DataError
from llmkit.formats.jsonl import raw
from llmkit.workflows.retrieve.eval import evaluate, read_answers
from llmkit.workflows.retrieve.query import Query


def query(text: str, relevant: object) -> Query:
    return Query(text, {"query": raw(text), "relevant": raw(relevant), "n": raw(3)})


def test_the_report_is_the_mean_and_each_query_is_kept_with_its_figures(tmp_path: Path) -> None:
    answers = [(query("one", ["b"]), ["a", "b"]), (query("two", {"c": 2, "d": 0}), [])]
    report = evaluate(answers, 5, "relevant", tmp_path / "each.jsonl", force=False)
    assert (report.queries, report.recall, report.mrr, report.nothing_found) == (2, 0.5, 0.25, 1)
    rows = [json.loads(line) for line in (tmp_path / "each.jsonl").read_text().splitlines()]
    assert [(row["n"], row["recall"], row["mrr"]) for row in rows] == [(3, 1.0, 0.5), (3, 0.0, 0.0)]


def test_hits_that_are_there_are_read_and_their_lack_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "hits.jsonl"
    path.write_text('{"query": "one", "hits": [{"document": "a", "score": 1}, {"document": "b"}]}\n')
    assert [ranking for _, ranking in read_answers([path], None)] == [["a", "b"]]
    path.write_text('{"query": "one"}\n')
    with pytest.raises(DataError, match=r'hits.jsonl:1: no "hits"'):
        list(read_answers([path], None))


@pytest.mark.parametrize("relevant", [[], "a", {"a": 0}, None])
def test_a_query_without_anything_relevant_is_an_error(relevant: object) -> None:
    with pytest.raises(DataError, match='no ids of relevant documents in "relevant"'):
        evaluate([(query("one", relevant), ["a"])], 5, "relevant", None, force=False)


def test_no_query_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="no queries"):
        evaluate([], 5, "relevant", None, force=False)
