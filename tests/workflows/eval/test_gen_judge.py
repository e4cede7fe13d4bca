"""Who judges, and what they are given."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.probe.evaluate.config import ScoreConfig
from llmkit.probe.evaluate.tasks_config import GenConfig
from llmkit.probe.evaluate.written_tasks import Task
from llmkit.workflows.eval.gen_judge import open_judge
from llmkit.workflows.eval.gen_tasks import Item
from llmkit.workflows.eval.score import eval_score

HUMANEVAL = {"prompt": "def f():\n", "entry_point": "f", "test": "def check(f): assert f() == 1"}


def _item(record: dict[str, Any], *answers: str) -> Item:
    return Item(0, Task(id=None, prompt="", answers=answers), record, 0, 0, "", "t.jsonl:1")


def test_a_match_judges_what_is_extracted() -> None:
    judge = open_judge("plain", GenConfig(match="number", extract="= (.*)"))
    assert judge.told(_item({}, "4"), "= 5, no: = 4")["correct"]
    assert judge.told(_item({}, "4"), "4") == {"score": 0.0, "correct": False, "found": None}


def test_what_is_extracted_is_what_score_extracts_of_the_last_place(tmp_path: Path) -> None:
    text, regex, path = "A: 4 of them\nB: 5\nbecause", "A: (.*)$|B: (.*)$", tmp_path / "o.jsonl"
    path.write_text(json.dumps({"completion": text, "answer": "5"}))
    assert open_judge("plain", GenConfig(extract=regex)).told(_item({}, "5"), text)["found"] == "5"
    assert eval_score(path, ScoreConfig(extract=regex, which="last")).score == 1


def test_gsm8k_answers_are_the_numbers_behind_the_marks() -> None:
    judge = open_judge("gsm8k", GenConfig())
    assert judge.told(_item({}, "So.\n#### 1,200"), "It is 7.\n#### 1200.")["correct"]
    assert not judge.told(_item({}, "So.\n#### 1,200"), "1200")["correct"]


def test_a_command_gets_the_record_and_the_program(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    judge = open_judge("humaneval", GenConfig(verify=f"cat > {heard}"))
    assert judge.told(_item(HUMANEVAL), "  return 1") == {
        "score": 1.0, "correct": True, "found": "  return 1", "status": 0
    }  # fmt: skip
    told = json.loads(heard.read_text())
    assert told["program"] == "def f():\n  return 1\ndef check(f): assert f() == 1\ncheck(f)\n"
    assert told == {**HUMANEVAL, "completion": "  return 1", "program": told["program"]}


def test_programs_are_run_by_the_users_command_or_not_at_all() -> None:
    with pytest.raises(UsageError, match="running them"):
        open_judge("humaneval", GenConfig())
    with pytest.raises(UsageError, match="exclude"):
        open_judge("plain", GenConfig(verify="true", match="exact"))
    with pytest.raises(UsageError, match="--extract"):
        open_judge("plain", GenConfig(extract="("))


def test_an_answer_that_nothing_can_be_held_against_is_named_before_anything_is_written() -> None:
    judge = open_judge("plain", GenConfig(match="number"))
    judge.check([_item({}, "4")])
    with pytest.raises(DataError, match=r"^t\.jsonl:1: the answer 'x' has no number"):
        judge.check([_item({}, "4"), _item({}, "4", "x")])
    open_judge("plain", GenConfig(verify="true")).check([_item({}, "x")])
    with pytest.raises(MissingError, match="cannot run no-such-program"):
        open_judge("plain", GenConfig(verify="no-such-program 4")).check([])


def test_a_note_says_that_a_shell_has_found_no_program_for_any_answer() -> None:
    judge = open_judge("plain", GenConfig(verify="grep 4 | no-such-program", extract=r"\d"))
    found = [judge.told(_item({}), text) for text in ("4", "5", "none")]
    assert [(one["correct"], one["status"]) for one in found] == [(False, 127), (False, 127), (False, None)]
    (note,) = judge.notes(found)
    assert "status 127 for every answer" in note
    assert not judge.notes([*found, {"found": "6", "status": 1}]) and not judge.notes(found[2:])
    assert not open_judge("plain", GenConfig()).notes([{"found": "4"}])
