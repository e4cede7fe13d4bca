"""Tasks whose answers a model writes, as their files have them.

plain      {"prompt" | "question", "answer": text, number or a list of them}
gsm8k      {"question", "answer"}, the number behind #### (2110.14168)
humaneval  {"task_id", "prompt", "entry_point", "test"}: a program, which a command of the user's tries
           (2107.03374)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llmkit.errors import DataError
from llmkit.formats.json_text import is_number
from llmkit.probe.evaluate.config import Match
from llmkit.probe.evaluate.tasks_config import WrittenForm

BETWEEN = "\n\n"
STOPS: dict[WrittenForm, tuple[str, ...]] = {
    "plain": (),
    "gsm8k": ("Question:", "</s>", "<|im_end|>"),  # lm-evaluation-harness's
    "humaneval": ("\nclass", "\ndef", "\n#", "\nif", "\nprint"),  # the paper's
}
MATCHES: dict[WrittenForm, Match] = {"plain": "exact", "gsm8k": "gsm8k", "humaneval": "exact"}
TOKENS: dict[WrittenForm, int] = {"plain": 256, "gsm8k": 256, "humaneval": 512}


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to write."""

    id: str | None
    prompt: str
    answers: tuple[str, ...]
    """Empty where a command judges."""
    told: str = ""
    """The answer as an example gives it; empty where the record has none that could be shown."""

    @property
    def identity(self) -> str:
        """Equal for two that ask the same."""
        return self.prompt


def detect_written(record: Mapping[str, Any]) -> WrittenForm:
    """The form of a record, by its keys.

    Raises:
        DataError: it has none that is known.
    """
    if {"prompt", "test", "entry_point"} <= set(record):
        return "humaneval"
    if "question" in record and "####" in str(record.get("answer", "")):
        return "gsm8k"
    if "prompt" in record or "question" in record:
        return "plain"
    raise DataError(
        f"no form of task is known that has the keys {', '.join(record) or '(none)'}",
        hint='{"prompt": …, "answer": …}',
    )


def read_task(record: Mapping[str, Any], form: WrittenForm, *, needs_answer: bool) -> Task:
    """One task.

    Args:
        record: decoded.
        form: see the module.
        needs_answer: whether the record must have one; else a command judges.

    Raises:
        DataError: a key is missing or is something else.
    """
    name = record.get("id", record.get("task_id"))
    raw = "prompt" in record
    asked = record.get("prompt", record.get("question"))
    if not isinstance(asked, str):
        raise DataError('no text at "prompt" or "question"', hint='{"prompt": "2 + 2 =", "answer": "4"}')
    answers: tuple[str, ...] = ()
    if needs_answer:
        if "answer" not in record:
            raise DataError('no "answer"', hint='{"prompt": "2 + 2 =", "answer": "4"}, or --verify CMD')
        value = record["answer"]
        answers = tuple(_text(one) for one in (value if isinstance(value, list) else [value]))
    told = _told(record)
    return Task(
        id=None if name is None else str(name),
        prompt=asked if raw else f"Question: {asked}\nAnswer:",
        answers=answers,
        told=told if form == "humaneval" or not told else f" {told}",
    )


def with_examples(task: Task, examples: Sequence[Task]) -> str:
    """The prompt of a task behind others with their answers."""
    return "".join(one.prompt + one.told + BETWEEN for one in examples) + task.prompt


def program(record: Mapping[str, Any], completion: str) -> str | None:
    """What HumanEval runs: prompt, completion, test and the call of its check; None for other tasks."""
    if not {"prompt", "test", "entry_point"} <= set(record):
        return None
    return f"{record['prompt']}{completion}\n{record['test']}\ncheck({record['entry_point']})\n"


def _told(record: Mapping[str, Any]) -> str:
    """What an example gives as its answer: the program, else the first answer that is right."""
    value = record.get("canonical_solution")
    if value is None:
        value = record.get("answer")
    if isinstance(value, list):
        value = value[0] if value else None
    return str(value) if _is_text(value) else ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or is_number(value)


def _text(value: Any) -> str:
    if not _is_text(value):
        raise DataError(f"the answer {value!r} is no text and no number", hint='"answer": "4"')
    return str(value)
