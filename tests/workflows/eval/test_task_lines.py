"""Records of tasks: an empty input, and the examples before a question."""

from pathlib import Path

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.probe.evaluate.written_tasks import Task
from llmkit.workflows.eval.task_lines import check_examples, examples_of, has_enough, nothing_in


@pytest.mark.parametrize(("path", "name"), [("-", "stdin"), ("a.jsonl", r"a\.jsonl")])
def test_an_input_with_nothing_in_it_is_called_by_its_name(path: str, name: str) -> None:
    with pytest.raises(DataError, match=f"^{name}: no tasks$"):
        raise nothing_in(Path(path), "tasks", "some")


def test_examples_and_their_file_go_together() -> None:
    check_examples(0, None, "usage")
    check_examples(2, Path("dev"), "usage")
    with pytest.raises(UsageError, match="--shots needs --dev FILE"):
        check_examples(2, None, "usage")
    with pytest.raises(UsageError, match="--dev needs --shots N"):
        check_examples(0, Path("dev"), "usage")


def test_examples_are_the_first_that_are_not_the_question_itself() -> None:
    one, two, three = (Task(id=None, prompt=prompt, answers=()) for prompt in "abc")
    assert examples_of(one, [two, one, three], 2, "dev") == [two, three]
    assert examples_of(three, [two, two, one], 2, "dev") == [two, two]
    assert examples_of(one, [], 0, "dev") == []
    with pytest.raises(DataError, match="dev: 1 example beside the question itself, and --shots asks for 2"):
        examples_of(one, [two, one], 2, "dev")


def test_there_are_enough_examples_when_each_question_has_enough_beside_itself() -> None:
    one, two = (Task(id=None, prompt=prompt, answers=()) for prompt in "ab")
    assert not has_enough([one], 1)
    assert not has_enough([one, one], 1)
    assert has_enough([one, one, two], 1)
