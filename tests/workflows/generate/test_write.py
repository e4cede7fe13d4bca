"""The loop over rows and samples: seeds, counts, progress, and what happens where it breaks off."""

import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.engine.seeds import derive_seed
from llmkit.progress import SILENT
from llmkit.workflows.generate.extent import Extent
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import Job, open_job
from llmkit.workflows.generate.model import place, start_engine
from llmkit.workflows.generate.output import JsonOutput, TextOutput
from llmkit.workflows.generate.row import Row
from llmkit.workflows.generate.rows import read_prompt
from llmkit.workflows.generate.write import Writing, Written


@pytest.fixture
def job(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Callable[..., Job]:
    """Open a job on a small model: `job(sampling, prompt="a", require="x")`."""
    folder = tiny_model(vocab_size=600)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)

    def make(sampling: dict[str, Any], **settings: Any) -> Job:
        sampling = {"max_tokens": 4, "ignore_eos": True} | sampling
        return open_job(
            GenerateFiles(model=folder, prompt="the License"),
            GenerateConfig(sampling=sampling, **settings),
        )

    return make


def _write(job: Job, rows: int = 1, progress: Any = SILENT) -> tuple[list[dict[str, Any]], Written]:
    stream = io.BytesIO()
    output = JsonOutput(stream, job.tokenizer, with_schema=False, flush=False)
    texts = rows * job.sampling.samples
    engine = start_engine(job, place(job, Extent(rows, 31, 31, texts)))
    writing = Writing(job, engine, output, progress)
    writing.write([read_prompt(job)] * rows, rows)
    return [msgspec.json.decode(line) for line in stream.getvalue().splitlines()], writing.written


def test_each_sample_can_be_written_again_alone_from_its_seed(job: Callable[..., Job]) -> None:
    records, written = _write(job({"samples": 3, "seed": 5}))
    assert [one["sample"] for one in records] == [0, 1, 2] and written.texts == 3
    assert [one["seed"] for one in records] == [5, derive_seed(5, "sample 1"), derive_seed(5, "sample 2")]
    assert len({one["completion"] for one in records}) == 3
    for one in records:
        (alone,), _ = _write(job({"seed": one["seed"]}))
        assert alone["completion"] == one["completion"]


def test_everything_is_counted(job: Callable[..., Job]) -> None:
    records, written = _write(job({"samples": 2}), rows=3)
    prompt = records[0]["usage"]["prompt_tokens"]
    assert (written.texts, written.prompt_tokens, written.completion_tokens) == (6, 6 * prompt, 6 * 4)
    assert written.seconds > 0 and (written.unmet, written.cut_by_context) == (0, 0)


def test_texts_cut_by_the_context_are_told_from_those_of_full_length(job: Callable[..., Job]) -> None:
    _, written = _write(job({"max_tokens": 100}))
    assert written.cut_by_context == 1
    _, written = _write(job({"max_tokens": written.completion_tokens}))  # as many as there is room for
    assert written.cut_by_context == 0


def test_a_pattern_is_looked_for_anywhere_in_each_text(job: Callable[..., Job]) -> None:
    (record,), _ = _write(job({"seed": 1}))
    middle = re.escape(record["completion"][1:-1])
    assert len(record["completion"]) > 2
    for pattern, unmet in ((middle, 0), (f"^{middle}$", 2)):
        _, written = _write(job({"seed": 1}, require=pattern), rows=2)
        assert written.unmet == unmet


def test_progress_counts_rows_and_moves_with_each_token(job: Callable[..., Job]) -> None:
    seen: list[tuple[float, float | None]] = []

    class Listener:
        def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
            assert str(fields["tok/s"]).replace(",", "").isdecimal()
            seen.append((done, total))

        def note(self, message: str) -> None:
            raise AssertionError(message)

    _write(job({"samples": 2}), rows=2, progress=Listener())
    done = [count for count, _ in seen]
    assert len(done) == 16 and sorted(done) == done and set(done) == {0, 0.5, 1, 1.5, 2}
    assert {total for _, total in seen} == {2}


def test_where_reading_rows_breaks_off_what_was_written_is_let_out(job: Callable[..., Job]) -> None:
    opened = job({})

    def rows() -> Iterator[Row]:
        yield read_prompt(opened)
        raise KeyboardInterrupt

    flushed = []

    class Stream(io.BytesIO):
        def flush(self) -> None:
            flushed.append(self.getvalue())

    output = TextOutput(Stream(), echo=False, flush=False)
    writing = Writing(opened, start_engine(opened, place(opened, Extent(2, 31, 31, 1))), output, SILENT)
    with pytest.raises(KeyboardInterrupt):
        writing.write(rows(), None)
    assert writing.written.texts == 1 and flushed[-1].endswith(b"\n")
