"""Ctrl-C in the middle of an evaluation."""

from typing import Any


class StopAt:
    """Ctrl-C as soon as so many records are done."""

    def __init__(self, done: int) -> None:
        self._done = done

    def update(self, done: float, total: float | None = None, **fields: Any) -> None:
        if done == self._done:
            raise KeyboardInterrupt

    def note(self, message: str) -> None: ...
