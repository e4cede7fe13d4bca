"""Records of tasks: decoded whole, and named where something is wrong with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from llmkit.errors import DataError
from llmkit.formats.jsonl import MALFORMED, Line


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


def decoded(line: Line) -> dict[str, Any]:
    """All values of a record.

    Raises:
        DataError: one of them is not JSON.
    """
    try:
        return {key: msgspec.json.decode(value) for key, value in line.record.items()}
    except MALFORMED as error:
        raise DataError(f"{line.where}: {error}", hint="mend the line") from None
