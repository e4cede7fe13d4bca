"""llmkit eval: the group of its subcommands."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.commands.eval.eval import group


def test_the_group_has_a_command_for_each_way_to_judge_a_model() -> None:
    assert {"tokens", "ppl", "kl", "score", "diff"} <= set(group().commands)


def test_a_word_that_is_none_of_them_names_the_nearest(llmkit_run) -> None:
    done = llmkit_run("eval", "pll")
    assert done.status == 2 and "did you mean llmkit eval ppl?" in done.err


QUESTION = {"prompt": "1 +", "choices": ["a", "bb"], "answer": 0}
TASK = {"prompt": "1 +", "answer": "e"}
LABELLED = {"prompt": "You must give", "completion": " any other", "correct": True}
OUTPUT = {"completion": "1", "answer": "1"}
HIDDEN = (
    "--tasks needle --words 8 --lengths 64 --depths 50 --max-tokens 2 "
    "--needle {key}{value}. --question {key} --answer {value}"
)
TEXT = {"text": "You must give any other recipients of the Work or Derivative Works a copy of this License"}


@pytest.mark.parametrize(
    ("words", "record", "changed", "what"),
    [
        ("ppl MODEL DATA", TEXT, "--window 4", "window is 64 there, and 4"),
        ("kl MODEL DATA -r MODEL", TEXT, "--window 8", "window is 64 there, and 8"),
        ("mc MODEL DATA", QUESTION, "--metric acc_norm", "has acc, and this run acc_norm"),
        ("gen MODEL DATA --max-tokens 2", TASK, "--max-tokens 3", "max_tokens is 2 there, and 3"),
        (
            "gen MODEL DATA --samples 2 --temperature 1",
            TASK,
            "--pass-at 2",
            "has pass@1, and this run pass@2",
        ),
        (f"needle MODEL {HIDDEN}", TEXT, "--samples 2", "prompts_each is 4 there, and 2"),
        ("tokens MODEL --calibrate DATA --bins 2", LABELLED, "--bins 3", "bins is 2 there, and 3"),
        ("score DATA -m exact", OUTPUT, "-m f1", "has accuracy, and this run f1"),
    ],
)
def test_a_baseline_of_other_settings_is_refused_before_any_work(
    llmkit_run, spelled_model, tmp_path: Path, words: str, record: dict[str, Any], changed: str, what: str
) -> None:
    data, old, records = tmp_path / "data.jsonl", tmp_path / "old.json", tmp_path / "records.jsonl"
    data.write_text(json.dumps(record) + "\n")
    paths = {"MODEL": spelled_model(), "DATA": data}
    line = ("eval", *(paths.get(word, word) for word in words.split()))
    old.write_bytes(llmkit_run(*line, "--json").out)
    others = changed.split()
    if "--calibrate" not in words:
        others += ["--per-record", str(records)]
    done = llmkit_run(*line, *others, "--baseline", old)
    assert (done.status, done.out) == (3, b"") and f"old.json: {what}" in done.err
    assert not list(tmp_path.glob("records*"))


@pytest.mark.parametrize(
    ("words", "record"), [("mc MODEL DATA", QUESTION), ("gen MODEL DATA --max-tokens 2", TASK)]
)
def test_a_run_that_is_worse_than_its_baseline_is_status_1_behind_its_report(
    llmkit_run, spelled_model, tmp_path: Path, words: str, record: dict[str, Any]
) -> None:
    data, old = tmp_path / "data.jsonl", tmp_path / "old.json"
    other = record | {"answer": 1 if record["answer"] == 0 else "e"}  # of two choices one is wrong
    data.write_text((json.dumps(record) + "\n" + json.dumps(other) + "\n") * 20)
    paths = {"MODEL": spelled_model(), "DATA": data}
    line = ("eval", *(paths.get(word, word) for word in words.split()), "--json")
    made = json.loads(llmkit_run(*line).out)
    old.write_text(json.dumps(made))
    assert llmkit_run(*line, "--baseline", old).status == 0
    made["headline"] |= {"value": 1.0, "error": 0.001}
    old.write_text(json.dumps(made))
    done = llmkit_run(*line, "--baseline", old)
    assert done.status == 1 and json.loads(done.out)["headline"]["value"] < 1 and "worse by" in done.err
