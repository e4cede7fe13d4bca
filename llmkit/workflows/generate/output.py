"""Where texts go: bare, piece by piece as they come, or as a line of JSON each."""

import math
import time
from collections.abc import Callable
from typing import BinaryIO, Protocol

from llmkit.engine.completion import Completion
from llmkit.engine.request import Drawn
from llmkit.formats.jsonl import encode_line, raw
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.generate.code import first_code_block
from llmkit.workflows.generate.results import SCHEMA, result_record
from llmkit.workflows.generate.row import Refusal, Row

MARK, RESET = "\x1b[33m", "\x1b[0m"
"""Around a piece that the model was not sure of."""


class Output(Protocol):
    """Where texts go: told when one begins, of each of its pieces, and when it is complete."""

    def begin(self, row: Row) -> None:
        """A text for this row begins."""

    def write(self, text: str, token: Drawn | None = None) -> None:
        """A piece of the text, and the token that it came with."""

    def end(self, row: Row, completion: Completion, sample: int) -> None:
        """The text is complete."""

    def refuse(self, row: Refusal) -> None:
        """A row gets no text, but an error for its answer."""

    def abandon(self) -> None:
        """The text will not be completed: write out what there is."""


class TextOutput:
    """Bare texts, each ended by a line feed of our own."""

    def __init__(
        self,
        stream: BinaryIO,
        *,
        echo: bool,
        flush: bool,
        code: bool = False,
        mark_below: float | None = None,
    ) -> None:
        """
        Args:
            stream: where to.
            echo: whether prompts come out too.
            flush: whether each piece is let out at once.
            code: only the first code block of each text, as it stands; nothing where there is none.
            mark_below: colour pieces whose token has a lower probability than this.
        """
        self._stream = stream
        self._echo = echo
        self._flush = flush
        self._code = code
        self._mark_below = mark_below
        self._is_open = False

    def begin(self, row: Row) -> None:
        """Write the prompt, where that is asked for, and what the text begins with."""
        self.write((row.text or "" if self._echo else "") + row.prefill)

    def write(self, text: str, token: Drawn | None = None) -> None:
        """Write a piece through."""
        if self._mark_below is not None:
            text = marked(text, token, self._mark_below)
        if text and not self._code:
            self._put(text)

    def end(self, row: Row, completion: Completion, sample: int) -> None:
        """End the line."""
        if self._code:
            self._put(first_code_block(row.prefill + (completion.text or "")) or "")
        else:
            self._put("\n")
        self._is_open = False

    def refuse(self, row: Refusal) -> None:
        """Never: what can be refused are rows."""
        raise AssertionError(row.error)

    def abandon(self) -> None:
        """End the line where a text was cut off, so that what comes next on a terminal has its own."""
        if self._is_open:
            self._put("\n")
        self._stream.flush()

    def _put(self, text: str) -> None:
        self._is_open = True
        self._stream.write(text.encode())
        if self._flush:
            self._stream.flush()


class JsonOutput:
    """A record for each text; for a row of OpenAI's batch files one answer to all that it asked for."""

    def __init__(
        self,
        stream: BinaryIO,
        tokenizer: Tokenizer | None,
        *,
        with_schema: bool,
        flush: bool,
        code: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            stream: where to.
            tokenizer: spells tokens.
            with_schema: whether records name their schema.
            flush: whether each record is let out at once.
            code: whether they have the first code block of their text.
            clock: seconds since 1970, for answers.
        """
        self._stream = stream
        self._tokenizer = tokenizer
        self._first = {"schema": raw(SCHEMA)} if with_schema else {}
        self._flush = flush
        self._code = code
        self._clock = clock
        self._asked: dict[str, dict[int, Completion]] = {}

    def begin(self, row: Row) -> None:
        """Nothing yet."""

    def write(self, text: str, token: Drawn | None = None) -> None:
        """Nothing yet."""

    def end(self, row: Row, completion: Completion, sample: int) -> None:
        """Write the record, or the answer with the last of its texts."""
        if row.call is None:
            record = result_record(row, completion, sample, self._tokenizer, with_code=self._code)
            self._put(self._first | record)
            return
        there = self._asked.setdefault(row.call.where, {})
        there[sample] = completion
        if len(there) == row.request.sampling.samples:
            del self._asked[row.call.where]
            assert self._tokenizer is not None
            texts = [there[number] for number in sorted(there)]
            from llmkit.workflows.generate.answers import answer  # the server's: only batch rows wait

            self._put(answer(row.call, row, texts, self._tokenizer, int(self._clock())))

    def refuse(self, row: Refusal) -> None:
        """Write the error as the answer."""
        from llmkit.workflows.generate.answers import refusal

        self._put(refusal(row.call, row.error))

    def abandon(self) -> None:
        """Let out the records that are complete."""
        self._stream.flush()

    def _put(self, record: object) -> None:
        self._stream.write(encode_line(record))
        if self._flush:
            self._stream.flush()


def marked(text: str, token: Drawn | None, below: float) -> str:
    """A piece of a text, in colour where the model gave its token a lower probability than `below`.

    Of a character that several tokens make, the last token counts. The colour ends before a line does.
    """
    if token is None or token.score is None or math.exp(token.score.logprob) >= below:
        return text
    return "\n".join(f"{MARK}{line}{RESET}" if line else "" for line in text.split("\n"))
