"""Outputs held against answers, in files."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.probe.evaluate.config import ScoreConfig
from llmkit.probe.evaluate.intervals import wilson
from llmkit.workflows.eval.score import ScoreReport, eval_score


def _write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _score(path: Path, **settings: Any) -> ScoreReport:
    files = {name: settings.pop(name) for name in ("answers", "by", "per_record") if name in settings}
    return eval_score(path, ScoreConfig(**settings), **files)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return _write(
        tmp_path / "out.jsonl",
        {"id": "a", "completion": "It is 42.", "answer": 42, "kind": "x"},
        {"id": "b", "completion": "No idea", "answer": "7", "kind": "x"},
        {"id": "c", "completion": "1, then 3", "answer": [3, 4], "kind": "y"},
        {"id": "d", "completion": "5", "answer": 6, "kind": "y"},
    )


def test_accuracy_has_wilsons_interval_and_what_holds_nothing_is_counted(outputs: Path) -> None:
    found = _score(outputs, match="number")
    assert (found.records, found.correct, found.score, found.nothing_found) == (4, 2, 0.5, 1)
    assert (found.interval.low, found.interval.high) == wilson(2, 4)
    assert found.headline.name == "accuracy" and found.headline.better == "higher"
    assert found.headline.error == pytest.approx((found.interval.high - found.interval.low) / 2 / 1.959964)


def test_groups_have_their_own_means(outputs: Path) -> None:
    groups = _score(outputs, match="number", by="kind").groups
    assert [(one.group, one.records, one.score) for one in groups] == [("x", 2, 0.5), ("y", 2, 0.5)]


def test_records_say_what_was_found(outputs: Path, tmp_path: Path) -> None:
    _score(outputs, match="number", per_record=tmp_path / "r.jsonl")
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    first = {"index": 0, "id": "a", "score": 1.0, "correct": True, "found": "42", "answer": ["42"]}
    assert records[0] == first and records[1]["found"] is None
    assert [one["correct"] for one in records] == [True, False, True, False]


def test_what_a_pattern_finds_is_judged_in_place_of_the_whole(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "o",
        {"completion": "Answer: x\nAnswer: y", "answer": "y"},
        {"completion": "nothing", "answer": "nothing"},
    )
    first = _score(path, extract=r"Answer: (\w)")
    assert (first.correct, first.nothing_found) == (0, 1)
    assert _score(path, extract=r"Answer: (\w)", which="last").correct == 1
    assert _score(path, extract=r"\w+").correct == 1  # without a group, all of it
    with pytest.raises(UsageError, match="no regular expression"):
        _score(path, extract="(")


def test_answers_may_stand_in_a_file_of_their_own_by_id(tmp_path: Path) -> None:
    path = _write(tmp_path / "o", {"id": 2, "text": "b"}, {"id": 1, "text": "x"})
    answers = _write(tmp_path / "a", {"id": 1, "gold": "a"}, {"id": 2, "gold": "b"}, {"id": 3, "gold": "c"})
    fields = {"output_field": "text", "answer_field": "gold"}
    assert _score(path, answers=answers, **fields).correct == 1
    with pytest.raises(DataError, match="no answer for id 'z'"):
        _score(_write(tmp_path / "p", {"id": "z", "text": "b"}), answers=answers, **fields)
    with pytest.raises(DataError, match=r"a:2: a second record with id 'q'"):
        _score(path, answers=_write(tmp_path / "a", *[{"id": "q", "gold": "a"}] * 2), **fields)


def test_shares_between_right_and_wrong_have_a_bootstrap_interval(tmp_path: Path) -> None:
    rows = [
        {"completion": "Rome Oslo", "answer": ["rome", "bonn"] if n % 2 == 0 else ["rome", "oslo", "bonn"]}
        for n in range(8)
    ]
    found = _score(_write(tmp_path / "o", *rows), match="contains-all")
    assert found.score == pytest.approx((4 * 0.5 + 4 * 2 / 3) / 8)
    assert found.headline.name == "contains-all" and "bootstrap" in found.interval.method
    assert found.interval.low < found.score < found.interval.high and found.correct == 0


def test_one_record_that_is_partly_right_has_no_interval(tmp_path: Path) -> None:
    path = _write(tmp_path / "one.jsonl", {"completion": "red and blue", "answer": "red"})
    found = _score(path, match="f1")
    assert found.score == pytest.approx(0.5) and (found.interval, found.headline.error) == (None, None)


@pytest.mark.parametrize(
    ("row", "says"),
    [({"answer": "a"}, 'o:1: no "completion"'), ({"completion": "a"}, 'o:1: no "answer"'),
     ({"completion": "a", "answer": {}}, 'o:1: "answer"'),
     ({"completion": "a", "answer": []}, "o:1: no answer"),
     ({"completion": 3, "answer": "a"}, 'o:1: "completion"')],
)  # fmt: skip
def test_a_record_that_cannot_be_judged_is_named(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        _score(_write(tmp_path / "o", row))


def test_no_outputs_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no outputs"):
        _score(_write(tmp_path / "o"))


def test_gsm8ks_own_answers_are_all_right(shared_data: Path, tmp_path: Path) -> None:
    from llmkit.formats.jsonl import read_records

    rows = []
    for line in read_records(shared_data / "eval" / "gsm8k-test.jsonl.zst"):
        answer = json.loads(bytes(line.record["answer"]))
        rows.append({"completion": answer, "answer": answer})
    found = _score(_write(tmp_path / "o", *rows), match="gsm8k")
    assert found.records == found.correct == 1319


def test_answers_without_an_output_are_wrong_and_told(tmp_path: Path) -> None:
    answers = _write(tmp_path / "a", *({"id": name, "answer": name} for name in "xyz"))
    records = tmp_path / "r.jsonl"
    one = _write(tmp_path / "o", {"id": "y", "completion": "y"})
    found = _score(one, answers=answers, per_record=records)
    assert (found.records, found.correct, found.without_output, found.nothing_found) == (3, 1, 2, 0)
    assert found.score == pytest.approx(1 / 3) and (found.interval.low, found.interval.high) == wilson(1, 3)
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    assert [(row["index"], row["id"], row["correct"]) for row in rows] == [
        (0, "y", True), (1, "x", False), (2, "z", False),
    ]  # fmt: skip
    every = _write(tmp_path / "p", *({"id": name, "completion": "?"} for name in "zyx"))
    assert _score(every, answers=answers).work == found.work  # of one set of answers, so they are compared


def test_answers_without_an_output_are_in_the_groups_as_they_are_in_the_total(tmp_path: Path) -> None:
    rows = [{"id": name, "answer": name, "kind": kind} for name, kind in (("x", 1), ("y", 1), ("z", 2))]
    answers = _write(tmp_path / "a", *rows, {"id": "w", "answer": "w"})
    one = _write(tmp_path / "o", {"id": "y", "completion": "y", "kind": 1})
    found = _score(one, answers=answers, by="kind")
    groups = [(group.group, group.records, group.score) for group in found.groups]
    assert groups == [("(no output)", 1, 0.0), ("1", 2, 0.5), ("2", 1, 0.0)]
    assert sum(group.records for group in found.groups) == found.records == 4
    assert _score(one, answers=answers).groups == []


def test_which_place_is_refused_where_nothing_looks_for_places(outputs: Path) -> None:
    with pytest.raises(UsageError, match="--which last does nothing without --extract"):
        _score(outputs, match="number", which="last")


def test_a_second_output_for_one_answer_is_refused(tmp_path: Path) -> None:
    answers = _write(tmp_path / "a", {"id": "x", "answer": "x"})
    twice = _write(tmp_path / "o", *[{"id": "x", "completion": "x", "answer": "x"}] * 2)
    with pytest.raises(DataError, match=r"o:2: a second output with id 'x'"):
        _score(twice, answers=answers)
    assert _score(twice).records == 2  # several samples, each with its answer


def test_records_of_other_outputs_are_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*outputs: str, end: str = "") -> ScoreReport:
        rows = ({"id": n, "completion": one, "answer": "x"} for n, one in enumerate(outputs))
        lines = "".join(json.dumps(row) + "\n" for row in rows) + end
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(lines.encode()))))
        return _score(Path("-"), per_record=tmp_path / "r")

    with pytest.raises(DataError, match="stdin:3"):
        read("x", "y", end="{broken\n")
    with pytest.raises(DataError, match=r"record 1 \('1'\) is another than in the interrupted run"):
        read("x", "x")
    with pytest.raises(DataError, match="the input ends after 1 record,"):
        read("x")
    assert read("x", "y", "x").correct == 2
    assert len((tmp_path / "r").read_text().splitlines()) == 3
