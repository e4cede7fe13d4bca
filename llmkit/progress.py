"""How the core says what it is doing: a protocol, so that nothing below `commands/` ever prints."""

from typing import Protocol


class Progress(Protocol):
    """A listener for long work. Called often; an implementation decides what to show and how seldom."""

    def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
        """Work done so far, of `total` where it is known; `fields` are figures to show beside it."""

    def note(self, message: str) -> None:
        """One line a person should read: a checkpoint saved, a choice made, a sample."""


class Silent:
    """A Progress that says nothing: the default in tests and in library use."""

    def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
        """Ignore the figures."""

    def note(self, message: str) -> None:
        """Ignore the message."""


SILENT = Silent()
