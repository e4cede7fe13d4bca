"""The tasks of `llmkit eval gen`: read, and each put as a prompt behind its examples."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, at_place
from llmkit.formats.digest import digest_bytes
from llmkit.formats.jsonl import decode_all, read_records
from llmkit.probe.evaluate.tasks_config import GenConfig, WrittenForm
from llmkit.probe.evaluate.written_tasks import Task, detect_written, read_task, with_examples
from llmkit.workflows.eval.task_lines import examples_of, has_enough, nothing_in


@dataclass(frozen=True)
class Item:
    """One sample of one task."""

    index: int
    task: Task
    record: dict[str, Any]
    task_index: int
    sample: int
    prompt: str
    where: str
    """`file:line`."""

    @property
    def digest(self) -> str:
        """Of the prompt: an interrupted run goes on only where it is the same."""
        return digest_bytes(self.prompt.encode())[:16]


def read_items(path: Path, dev: Path | None, config: GenConfig) -> tuple[WrittenForm, list[Item]]:
    """Every sample of every task, in order.

    Args:
        path: jsonl of tasks; `-` is stdin.
        dev: jsonl of examples; None: there are none.
        config: how tasks are put.

    Returns:
        The form of the records, and the samples.

    Raises:
        DataError: a record is no task of the form, or there are too few examples.
    """
    form: WrittenForm | None = None if config.form == "auto" else config.form
    items: list[Item] = []
    examples: list[Task] = []
    for number, line in enumerate(read_records(path)):
        if config.limit is not None and number >= config.limit:
            break
        record = decode_all(line)
        with at_place(line.where):
            form = form or detect_written(record)
            task = read_task(record, form, needs_answer=config.verify is None)
        if dev is not None and not examples:
            examples = _examples(dev, form, config.shots)
        prompt = with_examples(task, examples_of(task, examples, config.shots, str(dev)))
        items += [
            Item(number * config.samples + sample, task, record, number, sample, prompt, line.where)
            for sample in range(config.samples)
        ]
    if form is None or not items:
        raise nothing_in(path, "tasks", "a line of JSON for each; see llmkit eval gen --help")
    return form, items


def _examples(dev: Path, form: WrittenForm, shots: int) -> list[Task]:
    found: list[Task] = []
    for line in read_records(dev):
        if has_enough(found, shots):
            break
        record = decode_all(line)
        with at_place(line.where):
            task = read_task(record, form, needs_answer=False)
            if not task.told:
                raise DataError("an example without an answer", hint='{"prompt": "2 + 2 =", "answer": "4"}')
        found.append(task)
    return found
