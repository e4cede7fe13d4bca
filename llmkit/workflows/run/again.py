"""What people are told about going on with a run that was stopped."""

from collections.abc import Iterator
from contextlib import contextmanager

from llmkit.errors import LlmkitError

AGAIN = "run the same line again to go on"
GOES_ON = "the same line goes on"
_NEVER = {
    AGAIN: "run the same line without --resume never to go on",
    GOES_ON: "the same line without --resume never goes on",
}


@contextmanager
def over_again(starts_over: bool) -> Iterator[None]:
    """Correct what errors say of going on: after `--resume never` the same line would start over.

    Args:
        starts_over: whether the run was started with `--resume never`.
    """
    try:
        yield
    except LlmkitError as error:
        if starts_over:
            error.hint = _retold(error.hint)
        raise
    except KeyboardInterrupt as stop:
        if not starts_over:
            raise
        raise KeyboardInterrupt(*map(_retold, stop.args)) from None


def _retold(text: str) -> str:
    for told, never in _NEVER.items():
        text = text.replace(told, never)
    return text
