"""Where texts go: what is flushed when, and what is left where a text is cut off."""

import io
import math
from typing import Any

import msgspec
import pytest

from llmkit.engine.completion import Completion
from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Drawn, Request, Scored
from llmkit.workflows.generate.output import MARK, RESET, JsonOutput, Output, TextOutput, marked
from llmkit.workflows.generate.row import Row

ROW = Row(Request((1,), SamplingConfig()), {"prompt": msgspec.Raw(b'"Hi"')}, "Hi")
DONE = Completion("é\n", (Drawn(4, "length"),), "length")


class Stream(io.BytesIO):
    """A stream that remembers what had been written each time it was flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed: list[bytes] = []

    def flush(self) -> None:
        self.flushed.append(self.getvalue())


def _write(output: Output) -> None:
    output.begin(ROW)
    for piece in ("é", "", "\n"):
        output.write(piece)
    output.end(ROW, DONE, 0)


@pytest.mark.parametrize(("echo", "before"), [(False, ""), (True, "Hi")])
def test_a_text_is_its_bytes_and_one_line_feed_more(echo: bool, before: str) -> None:
    stream = Stream()
    _write(TextOutput(stream, echo=echo, flush=False))
    assert stream.getvalue().decode() == f"{before}é\n\n"
    assert stream.flushed == []


def test_each_piece_is_written_through_where_somebody_watches() -> None:
    stream = Stream()
    _write(TextOutput(stream, echo=False, flush=True))
    assert stream.flushed == ["é".encode(), "é\n".encode(), "é\n\n".encode()]  # nothing for the empty piece


@pytest.mark.parametrize(("pieces", "left"), [(["a", "b"], b"ab\n"), ([], b"")])
def test_a_text_cut_off_ends_its_line_and_is_let_out(pieces: list[str], left: bytes) -> None:
    stream = Stream()
    output = TextOutput(stream, echo=False, flush=False)
    output.begin(ROW)
    for piece in pieces:
        output.write(piece)
    output.abandon()
    assert stream.flushed[-1] == left


@pytest.mark.parametrize("with_schema", [False, True])
@pytest.mark.parametrize("flush", [False, True])
def test_a_record_is_a_line_of_its_own(with_schema: bool, flush: bool) -> None:
    stream = Stream()
    output = JsonOutput(stream, None, with_schema=with_schema, flush=flush)
    _write(output)
    _write(output)
    records: list[Any] = [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]
    assert [one["completion"] for one in records] == ["é\n"] * 2
    assert [one.get("schema") for one in records] == ["llmkit.generate/1" if with_schema else None] * 2
    assert len(stream.flushed) == 2 * flush


def test_records_that_are_complete_are_let_out_where_the_next_is_not() -> None:
    stream = Stream()
    output = JsonOutput(stream, None, with_schema=False, flush=False)
    _write(output)
    output.begin(ROW)
    output.write("half")
    output.abandon()
    assert stream.flushed[-1].count(b"\n") == 1 and b"half" not in stream.flushed[-1]


@pytest.mark.parametrize(("probability", "is_marked"), [(0.09, True), (0.11, False), (0.0, True)])
def test_what_is_below_the_bound_is_in_colour(probability: float, is_marked: bool) -> None:
    logprob = math.log(probability) if probability else -math.inf
    found = marked("a b", Drawn(1, score=Scored(1, logprob)), 0.1)
    assert found == (f"{MARK}a b{RESET}" if is_marked else "a b")


def test_no_colour_runs_over_the_end_of_a_line_or_stands_around_nothing() -> None:
    low = Drawn(1, score=Scored(1, -9.0))
    assert marked("a\n\nb", low, 0.1) == f"{MARK}a{RESET}\n\n{MARK}b{RESET}"
    assert marked("", low, 0.1) == "" and marked("a", None, 0.1) == marked("a", Drawn(1), 0.1) == "a"
