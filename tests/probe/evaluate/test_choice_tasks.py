"""Questions as files have them, put as lm-evaluation-harness puts them."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError
from llmkit.formats.jsonl import read_records
from llmkit.probe.evaluate.choice_tasks import answer_index, detect_form, read_question, with_examples
from llmkit.probe.evaluate.tasks_config import ChoiceForm

MMLU = {
    "subject": "high_school_biology",
    "question": " What? ",
    "choices": ["w", "x", "y", "z"],
    "answer": "C",
}


def test_an_mmlu_question_is_put_with_its_letters() -> None:
    question = read_question(MMLU, "mmlu")
    assert question.context == "What?\nA. w\nB. x\nC. y\nD. z\nAnswer:"
    assert question.continuations == (" A", " B", " C", " D")
    assert (question.answer, question.group) == (2, "high_school_biology")
    assert with_examples(question, [question]) == (
        "The following are multiple choice questions (with answers) about high school biology.\n\n"
        "What?\nA. w\nB. x\nC. y\nD. z\nAnswer: C\n\nWhat?\nA. w\nB. x\nC. y\nD. z\nAnswer:"
    )


def test_hellaswag_loses_its_brackets_as_in_the_harness() -> None:
    record = {
        "activity_label": "Knitting", "ctx_a": "She knits [title] well.", "ctx_b": "the cat",
        "endings": ["sits [step] down.", "runs  off."], "label": "1",
    }  # fmt: skip
    question = read_question(record, "hellaswag")
    assert question.context == "Knitting: She knits. well. The cat"
    assert question.choices == ("sits down.", "runs off.")
    assert question.answer == 1


@pytest.mark.parametrize(
    "record",
    [
        {"question": "Why?", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"},
        {
            "question": {
                "stem": "Why?",
                "choices": [{"text": "a", "label": "1"}, {"text": "b", "label": "2"}],
            },
            "answerKey": "2",
        },
    ],
)
def test_arc_is_read_in_both_its_shapes(record: dict[str, Any]) -> None:
    assert detect_form(record) == "arc"
    question = read_question(record, "arc")
    assert (question.context, question.choices, question.answer) == (
        "Question: Why?\nAnswer:", ("a", "b"), 1
    )  # fmt: skip


def test_truthfulqa_asks_behind_its_six_examples() -> None:
    record = {"question": "Is it?", "mc1_targets": {"choices": ["no", "yes"], "labels": [0, 1]}}
    question = read_question(record, "truthfulqa")
    text = with_examples(question, [])
    assert text.startswith("Q: What is human life expectancy in the United States?\nA: Human life")
    assert text.endswith("Barcelona, Spain.\n\nQ: Is it?\nA:")
    assert text.count("Q: ") == 7
    assert question.answer == 1


def test_lambada_leaves_its_last_word_to_the_model() -> None:
    question = read_question({"text": "She sat on\nthe chair."}, "lambada")
    assert (question.context, question.continuations) == ("She sat on\nthe", (" chair.",))
    assert question.is_last_word


@pytest.mark.parametrize(
    ("answer", "index"), [("B", 1), ("(b)", 1), (0, 0), ("1", 1), ("blue", 1), (" A.", 0)]
)
def test_an_answer_is_a_letter_a_number_or_a_text(answer: Any, index: int) -> None:
    assert answer_index(answer, ["red", "blue"]) == index


@pytest.mark.parametrize("answer", [2, "C", -1, True, None, "green"])
def test_an_answer_that_is_no_choice_is_refused(answer: Any) -> None:
    record = {"question": "?", "choices": ["red", "blue"], "answer": answer}
    with pytest.raises(DataError, match="none of the 2 choices"):
        read_question(record, "plain")


def test_a_prompt_is_taken_as_it_is_and_a_question_is_framed() -> None:
    rest = {"choices": ["4", "5"], "answer": 0}
    assert read_question({"prompt": "2+2=", **rest}, "plain").context == "2+2="
    assert read_question({"question": "2+2?", **rest}, "plain").context == "Question: 2+2?\nAnswer:"


@pytest.mark.parametrize("choices", [{}, {"choices": "ab"}, {"choices": 3}])
def test_an_arc_question_without_texts_and_labels_is_none(choices: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="not a question as arc has them: its choices are not texts"):
        read_question({"question": "x", "answerKey": "C", **choices}, "arc")


def test_a_missing_key_is_named_with_the_shape() -> None:
    with pytest.raises(DataError, match="no key 'answer'") as told:
        read_question({"prompt": "?", "choices": ["a", "b"]}, "plain")
    assert '"choices"' in told.value.hint
    with pytest.raises(DataError, match="keys wrong"):
        detect_form({"wrong": 1})


def test_a_key_of_the_record_makes_groups() -> None:
    record = {"prompt": "?", "choices": ["a", "b"], "answer": 0, "level": 3}
    assert read_question(record, "plain", group_by="level").group == "3"


@pytest.mark.parametrize(
    ("name", "form", "count"),
    [("mmlu-dev", "mmlu", 285), ("lambada-test", "lambada", 5153), ("truthfulqa-en-es", "truthfulqa", 817)],
)
def test_real_files_are_read_to_the_last_record(
    shared_data: Path, name: str, form: ChoiceForm, count: int
) -> None:
    records = [
        {key: json.loads(bytes(value)) for key, value in line.record.items()}
        for line in read_records(shared_data / "eval" / f"{name}.jsonl.zst")
    ]
    assert len(records) == count
    assert {detect_form(one) for one in records} == {form}
    for one in records:
        question = read_question(one, form)
        assert question.continuations[question.answer].startswith(" ")
