"""Records of tasks: decoded whole, and named where something is wrong with them; where examples come from."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmkit.errors import DataError, UsageError
from llmkit.formats.jsonl import Line


@contextmanager
def at_line(line: Line) -> Iterator[None]:
    """Put `file:line` before what is wrong with a record.

    Raises:
        DataError: what was raised inside, with the place.
    """
    try:
        yield
    except DataError as error:
        raise DataError(f"{line.where}: {error.problem}", hint=error.hint) from None


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
