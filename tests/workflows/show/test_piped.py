"""A JSON object from a pipe is shown as from its file, and lines of JSON are still lines."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from llmkit.errors import DataError, UsageError
from llmkit.workflows.show.piped import piped_object
from llmkit.workflows.show.show import show_artefact

Piped = Callable[[bytes], Path]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n\n"], ids=["", "mark", "blank"])
def test_a_pipe_shows_what_its_file_does(
    tiny_model: Callable[..., Path], piped: Piped, indent: int | None, before: bytes
) -> None:
    config = tiny_model() / "config.json"
    report = config.with_name("report.json")
    report.write_text('{"schema": "llmkit.eval.ppl/1", "perplexity": 7.5}')
    for file in (config, report):
        content = json.dumps(json.loads(file.read_text()), indent=indent).encode()
        pipe = piped(before + content + b"\n")
        assert show_artefact(pipe) == msgspec.structs.replace(show_artefact(file), path=str(pipe))


def test_a_tokenizer_comes_through_a_pipe_too(byte_level_dir: Path, tmp_path: Path, piped: Piped) -> None:
    small = json.loads((byte_level_dir / "tokenizer.json").read_text())
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(small, indent=1))
    pipe = piped(file.read_bytes())
    assert show_artefact(pipe) == msgspec.structs.replace(show_artefact(file), path=str(pipe))


@pytest.mark.parametrize(
    ("content", "records"),
    [
        (b'{"a": 1}\n', 1),
        (b'{"a": 1}', 1),
        (b'{"model_type": "llama"}\n{"model_type": "llama"}\n', 2),
    ],
)
def test_lines_of_json_are_records(piped: Piped, content: bytes, records: int) -> None:
    report = show_artefact(piped(content))
    assert report.kind in ("documents", "records") and report.records == records  # type: ignore[union-attr]


def test_all_that_was_read_to_know_it_is_read_again() -> None:
    content = b'\n{"a": 1}\n\n{"b": 2}\n'
    with piped_object(io.BytesIO(content), "x") as (artefact, stream):
        assert artefact is None and stream.read() == content


@pytest.mark.parametrize(
    ("content", "error", "problem"),
    [
        (b'{\n"peft_type": "LORA"\n}', UsageError, "speaks for its folder"),
        (b'{\n"a": 1\n}', DataError, r"fd/\d+: JSON that llmkit does not know \(found: a\)"),
        (b'{\n"a": 1\n', DataError, r"fd/\d+:1: not a JSON object"),
        (b'{"vocab": {},\n"added_tokens": []}', DataError, r"^/dev/fd/\d+: "),
    ],
)
def test_what_cannot_be_shown_is_told_of_the_pipe(
    piped: Piped, content: bytes, error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        show_artefact(piped(content))
