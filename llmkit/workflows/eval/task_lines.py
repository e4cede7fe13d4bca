"""Examples before a task: where they come from, and which they are; an input with nothing in it."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from llmkit.errors import DataError, UsageError
from llmkit.formats.streams import input_name


class Example(Protocol):
    """A question with its answer."""

    @property
    def identity(self) -> Hashable:
        """Equal for two that ask the same."""


_Example = TypeVar("_Example", bound=Example)


def nothing_in(path: Path, what: str, hint: str) -> DataError:
    """That an input holds none of what is read from it."""
    return DataError(f"{input_name(path)}: no {what}", hint=hint)


def check_examples(shots: int, dev: Path | None, usage: str) -> None:
    """Refuse examples without a file, and a file without examples.

    Args:
        shots: examples before each task.
        dev: where they come from.
        usage: a line that has both.

    Raises:
        UsageError: one without the other.
    """
    if (shots > 0) != (dev is not None):
        raise UsageError(
            "--shots needs --dev FILE" if dev is None else "--dev needs --shots N",
            hint=usage,
        )


def has_enough(found: Sequence[Example], shots: int) -> bool:
    """Whether examples are so many that any question has enough: one more, as none is shown itself."""
    return len({one.identity for one in found}) > shots


def examples_of(asked: _Example, found: Sequence[_Example], shots: int, source: str) -> list[_Example]:
    """The examples before a question: the first ones that are not the question itself.

    So its answer is not given away where both come from one file (lm_eval/api/samplers.py does the same).

    Args:
        asked: the question.
        found: examples, until there are enough or no more.
        shots: how many are asked for.
        source: their file, and what else errors say of them.

    Raises:
        DataError: there are fewer.
    """
    others = [one for one in found if one.identity != asked.identity]
    if len(others) < shots:
        words = "1 example" if len(others) == 1 else f"{len(others)} examples"
        itself = "" if len(others) == len(found) else " beside the question itself"
        raise DataError(
            f"{source}: {words}{itself}, and --shots asks for {shots}",
            hint=f"--shots {len(others)}" if others else "leave out --shots and --dev",
        )
    return others[:shots]
