"""Tasks as files have them."""

from typing import Any

import pytest

from llmkit.errors import DataError
from llmkit.probe.evaluate.tasks_config import WrittenForm
from llmkit.probe.evaluate.written_tasks import detect_written, program, read_task, with_examples

GSM8K = {"question": "2 and 2?", "answer": "Two and two.\n#### 4"}
HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": "def f():\n", "entry_point": "f", "test": "def check(f):\n  assert f()",
    "canonical_solution": "  return 1\n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("record", "form"), [(GSM8K, "gsm8k"), (HUMANEVAL, "humaneval"), ({"prompt": "a"}, "plain")]
)
def test_a_record_tells_its_form(record: dict[str, Any], form: WrittenForm) -> None:
    assert detect_written(record) == form


def test_gsm8k_is_asked_behind_worked_examples() -> None:
    task = read_task(GSM8K, "gsm8k", needs_answer=True)
    assert task.answers == ("Two and two.\n#### 4",)
    assert with_examples(task, [task]) == (
        "Question: 2 and 2?\nAnswer: Two and two.\n#### 4\n\nQuestion: 2 and 2?\nAnswer:"
    )


def test_the_program_of_humaneval_is_the_papers() -> None:
    # human_eval/execution.py: prompt + completion + "\n" + test + "\n" + f"check({entry_point})"
    assert program(HUMANEVAL, "  return 1") == (
        "def f():\n  return 1\ndef check(f):\n  assert f()\ncheck(f)\n"
    )
    assert program(GSM8K, "4") is None


def test_answers_may_be_numbers_and_several() -> None:
    assert read_task({"prompt": "a", "answer": [1, "b"]}, "plain", needs_answer=True).answers == ("1", "b")


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"answer": ["4", "four"]}, " 4"),
        ({"answer": 4, "canonical_solution": None}, " 4"),
        ({"answer": "4", "canonical_solution": "four"}, " four"),
        ({"answer": []}, ""),
        ({"answer": None}, ""),
        ({"answer": {"a": 1}}, ""),
        ({}, ""),
    ],
)
def test_an_example_shows_one_answer_as_text(record: dict[str, Any], told: str) -> None:
    assert read_task({"prompt": "2 + 2 =", **record}, "plain", needs_answer=False).told == told


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"answer": 1}, "no text"),
        ({"prompt": "a"}, 'no "answer"'),
        ({"prompt": "a", "answer": {}}, "no number"),
    ],
)
def test_what_is_missing_is_named(record: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_task(record, "plain", needs_answer=True)


def test_a_record_of_no_form_is_refused() -> None:
    with pytest.raises(DataError, match="keys text"):
        detect_written({"text": "a"})
