"""Where texts go: bare, piece by piece as they come, or as a line of JSON each."""

from typing import BinaryIO, Protocol

from llmkit.engine.completion import Completion
from llmkit.formats.jsonl import encode_line, raw
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.generate_results import SCHEMA, result_record
from llmkit.workflows.generate_rows import Row


class Output(Protocol):
    """Where a text goes: told where it begins, piece by piece, and where it ends."""

    def begin(self, row: Row) -> None:
        """A text for this row comes."""

    def write(self, text: str) -> None:
        """A piece of it."""

    def end(self, row: Row, completion: Completion, sample: int) -> None:
        """The whole of it."""

    def abandon(self) -> None:
        """It will not be complete: let out what there is."""


class TextOutput:
    """Bare texts, each ended by a line feed of our own."""

    def __init__(self, stream: BinaryIO, *, echo: bool, flush: bool) -> None:
        self._stream = stream
        self._echo = echo
        self._flush = flush
        self._is_open = False

    def begin(self, row: Row) -> None:
        """Write the prompt, where that is asked for."""
        if self._echo:
            self.write(row.text or "")

    def write(self, text: str) -> None:
        """Write a piece through."""
        if text:
            self._is_open = True
            self._stream.write(text.encode())
            if self._flush:
                self._stream.flush()

    def end(self, row: Row, completion: Completion, sample: int) -> None:
        """End the line."""
        self.write("\n")
        self._is_open = False

    def abandon(self) -> None:
        """End the line where a text was cut off, so that what comes next on a terminal has its own."""
        if self._is_open:
            self.write("\n")
        self._stream.flush()


class JsonOutput:
    """A record for each text."""

    def __init__(
        self, stream: BinaryIO, tokenizer: Tokenizer | None, *, with_schema: bool, flush: bool
    ) -> None:
        self._stream = stream
        self._tokenizer = tokenizer
        self._first = {"schema": raw(SCHEMA)} if with_schema else {}
        self._flush = flush

    def begin(self, row: Row) -> None:
        """Nothing yet."""

    def write(self, text: str) -> None:
        """Nothing yet."""

    def end(self, row: Row, completion: Completion, sample: int) -> None:
        """Write the record."""
        record = result_record(row, completion, sample, self._tokenizer)
        self._stream.write(encode_line(self._first | record))
        if self._flush:
            self._stream.flush()

    def abandon(self) -> None:
        """Let out the records that are complete."""
        self._stream.flush()
