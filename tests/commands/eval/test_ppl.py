"""llmkit eval ppl on the command line: report, records, gates."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    path = tmp_path / "docs.jsonl"
    path.write_text('{"id": "a", "text": "You must give"}\n{"id": "b", "body": "", "text": "of the Work"}\n')
    return path


def test_a_report_is_one_object_and_records_are_lines(
    llmkit_run, spelled_model, docs: Path, tmp_path: Path
) -> None:
    records = tmp_path / "r.jsonl"
    done = llmkit_run("eval", "ppl", spelled_model(), docs, "--json", "--per-record", records)
    report = json.loads(done.out)
    assert (done.status, done.err) == (0, "") and report["schema"] == "llmkit.eval.ppl/1"
    told = [json.loads(line) for line in records.read_text().splitlines()]
    assert [one["id"] for one in told] == ["a", "b"]
    assert sum(one["nll"] for one in told) == pytest.approx(report["nll"] * report["scored_tokens"])
    again = llmkit_run("eval", "ppl", spelled_model("m2"), docs, "--per-record", records)
    assert again.status == 2 and "already exists" in again.err


def test_stdin_is_a_document_and_flags_say_how(llmkit_run, spelled_model, docs: Path) -> None:
    folder = spelled_model()
    flags = ["--window", "8", "--stride", "2", "--field", "text", "--json"]
    named = json.loads(llmkit_run("eval", "ppl", folder, docs, *flags).out)
    piped = json.loads(llmkit_run("eval", "ppl", folder, *flags, stdin=docs.read_bytes()).out)
    assert (named["window"], named["stride"]) == (8, 2)
    assert {**named, "seconds": 0} == {**piped, "seconds": 0}
    few = json.loads(llmkit_run("eval", "ppl", folder, docs, "--max-tokens", "1", "--json").out)
    assert few["records"] == 1
    like = llmkit_run(
        "eval", "ppl", folder, "--like", "llama.cpp", "--window", "4", stdin=b"You must give any other"
    )
    assert "as llama.cpp has them" in like.text


def test_gates_exit_1_behind_a_whole_report(llmkit_run, spelled_model, docs: Path, tmp_path: Path) -> None:
    words = ("eval", "ppl", spelled_model(), docs)
    done = llmkit_run(*words, "--json", "--fail-above", "1")
    assert done.status == 1 and "more than --fail-above 1" in done.err and json.loads(done.out)
    report = json.loads(done.out)
    assert llmkit_run(*words, "--fail-above", "1e9").status == 0
    refused = llmkit_run(*words, "--fail-above", "nan")
    assert refused.status == 2 and refused.out == b""  # before anything is scored
    old = tmp_path / "old.json"
    old.write_bytes(done.out)
    assert llmkit_run(*words, "--baseline", old).status == 0
    report["headline"] |= {"value": 1.0, "error": 0.0}
    old.write_text(json.dumps(report))
    done = llmkit_run(*words, "--baseline", old)
    assert done.status in (0, 1)
    report["headline"] |= {"value": report["headline"]["value"] - 1e9}
    old.write_text(json.dumps(report))
    done = llmkit_run(*words, "--baseline", old)
    assert done.status == 1 and "worse by 1e+09" in done.err


def test_a_baseline_of_another_text_or_other_windows_does_not_belong_here(
    llmkit_run, spelled_model, docs: Path, tmp_path: Path
) -> None:
    words = ("eval", "ppl", spelled_model(), docs)
    old = tmp_path / "old.json"
    old.write_bytes(llmkit_run(*words, "--json").out)
    other = tmp_path / "other.txt"
    other.write_text("You may add")
    done = llmkit_run(*words[:3], other, "--baseline", old)
    assert done.status == 3 and "old.json: of other inputs than this run" in done.err
    done = llmkit_run(*words, "--window", "4", "--baseline", old)
    assert done.status == 3 and "window is 64 there, and 4 in this run" in done.err
    changed = llmkit_run(*words, "--kv-dtype", "int8", "--weights", "int8", "--baseline", old)
    assert changed.status in (0, 1)  # how a model runs is what a gate is for


def test_a_baseline_is_read_from_stdin_where_nothing_else_is(llmkit_run, spelled_model, docs: Path) -> None:
    words = ("eval", "ppl", spelled_model())
    old = llmkit_run(*words, docs, "--json").out
    assert llmkit_run(*words, docs, "--baseline", "-", stdin=old).status == 0
    done = llmkit_run(*words, "-", "--baseline", "-", stdin=old)
    assert done.status == 2 and "both stdin" in done.err
