"""Training from files to a folder: every order of the input, what is written, and what is not."""

import hashlib
import io
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

from llmkit.errors import DataError, ResourceError
from llmkit.formats.provenance import Invocation
from llmkit.progress import SILENT
from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.doctor.tokens import check_tokenizer
from llmkit.workflows.train_tokenizer import plan as train_tokenizer_plan
from llmkit.workflows.train_tokenizer.plan import TrainTokenizerSources
from llmkit.workflows.train_tokenizer.report import TrainTokenizerReport
from llmkit.workflows.train_tokenizer.train_tokenizer import train_tokenizer_files

LICENSE = (Path(__file__).parents[3] / "LICENSE").read_text(encoding="utf-8")
PARAGRAPHS = [text for text in LICENSE.split("\n\n") if text.strip()]
NAMES = ["chat_template.jinja", "llmkit.json", "tokenizer.json", "tokenizer_config.json"]


class Bench:
    """A folder with the licence in many files and lines, and training on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number, paragraph in enumerate(PARAGRAPHS):
            (folder / "text").mkdir(exist_ok=True)
            (folder / "text" / f"{number:03}.txt").write_text(paragraph)

    def lines(self, name: str, seed: int) -> Path:
        """The paragraphs as records, in an order of their own, from two sources."""
        shuffled = PARAGRAPHS.copy()
        random.Random(seed).shuffle(shuffled)
        path = self.folder / name
        rows = [{"text": text, "source": "even" if len(text) % 2 == 0 else "odd"} for text in shuffled]
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(zstandard.compress(content) if path.suffix == ".zst" else content)
        return path

    def train(
        self, *inputs: Path, out: str = "out", sources: dict[str, Any] | None = None, **config: Any
    ) -> TrainTokenizerReport:
        return train_tokenizer_files(
            TrainTokenizerSources(inputs=inputs, out=self.folder / out, force=True, **(sources or {})),
            TrainTokenizerConfig(**{"vocab_size": 400, **config}),
            invocation=Invocation("train-tokenizer", {"seed": 0}),
            progress=SILENT,
        )

    def written(self, out: str = "out") -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.folder / out).iterdir())}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("max_bytes", [10**9, 6_000])
def test_the_order_of_files_and_lines_changes_no_byte(bench: Bench, kind: str, max_bytes: int) -> None:
    files = sorted((bench.folder / "text").iterdir())
    inputs = [
        [bench.lines("a.jsonl", 1)],
        [bench.lines("b.jsonl.zst", 2)],
        files,
        files[::-1],
        [bench.folder / "text"],
    ]
    digests = {bench.train(*paths, type=kind, max_bytes=max_bytes).sha256 for paths in inputs}
    assert len(digests) == 1
    other = bench.train(*files, type=kind, max_bytes=max_bytes, seed=7).sha256
    assert (other in digests) is (max_bytes == 10**9)  # the seed chooses the sample, and nothing else


def test_the_folder_says_what_made_it_and_the_same_line_makes_the_same_bytes(bench: Bench) -> None:
    report = bench.train(bench.folder / "text", out="one")
    bench.train(bench.folder / "text", out="two")
    written = bench.written("one")
    assert written == bench.written("two")
    assert sorted(written) == NAMES
    provenance = json.loads(written["llmkit.json"])
    digest = hashlib.sha256(written["tokenizer.json"]).hexdigest()
    assert provenance["tokenizer_sha256"] == report.sha256 == digest
    assert list(provenance["inputs"]) == ["text"]
    assert str(bench.folder).encode() not in b"".join(written.values())
    assert load_tokenizer(bench.folder / "one").sha256 == digest


@pytest.mark.parametrize("settings", [{}, {"chat": False}, {"eos": "<|endoftext|>"}, {"bos": "none"}])
def test_doctor_has_nothing_to_object_to(bench: Bench, settings: dict[str, Any]) -> None:
    bench.train(bench.folder / "text", **settings)
    findings = check_tokenizer(bench.folder / "out", load_tokenizer(bench.folder / "out"))
    assert [finding for finding in findings if finding.level != "info"] == []


def test_the_report_measures_the_text_that_was_read(bench: Bench) -> None:
    path = bench.lines("a.jsonl", 1)
    (bench.folder / "valid.txt").write_text(PARAGRAPHS[3] * 3)
    report = bench.train(path, sources={"valid": [bench.folder / "valid.txt"]})
    tokenizer = load_tokenizer(bench.folder / "out")
    tokens = {text: len(tokenizer.encode(text)) for text in PARAGRAPHS}
    size = sum(len(text.encode()) for text in PARAGRAPHS)
    assert (report.documents, report.text_bytes, report.trained_bytes) == (len(PARAGRAPHS), size, size)
    assert report.tokens == sum(tokens.values())
    assert report.bytes_per_token == round(size / report.tokens, 4)
    assert {row.source for row in report.sources} == {"even", "odd"}
    for row in report.sources:
        own = [text for text in PARAGRAPHS if len(text) % 2 == (row.source == "odd")]
        assert row.documents == len(own)
        share = sum(len(text.encode()) for text in own) / sum(tokens[text] for text in own)
        assert row.bytes_per_token == round(share, 4)
    text = PARAGRAPHS[3] * 3
    assert report.valid_bytes_per_token == round(len(text.encode()) / len(tokenizer.encode(text)), 4)
    used = {one for text in PARAGRAPHS for one in tokenizer.encode(text)}
    assert report.unused_tokens == sum(one not in used for one in range(260, 400))
    assert report.memory_bytes > 0 and report.peak_memory_bytes > 0


def test_a_sample_is_reported_as_one(bench: Bench) -> None:
    report = bench.train(bench.folder / "text", max_bytes=3_000)
    assert report.is_sample and 3_000 <= report.trained_bytes < report.text_bytes
    whole = bench.train(bench.folder / "text", out="whole", max_bytes=1_000_000)
    assert not whole.is_sample and whole.trained_bytes == whole.text_bytes


def test_text_on_stdin_gives_the_same_tokenizer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bench.lines("a.jsonl", 1)
    named = bench.train(path).sha256
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(path.read_bytes()))))
    assert bench.train(Path("-"), out="piped").sha256 == named
    assert list(json.loads(bench.written("piped")["llmkit.json"])["inputs"]) == ["stdin"]


def test_bad_input_leaves_the_old_output_and_nothing_else(bench: Bench) -> None:
    (bench.folder / "out").mkdir()
    (bench.folder / "out" / "tokenizer.json").write_text("old")
    (bench.folder / "bad.jsonl").write_text('{"text": "a"}\n{"text": \n')
    before = sorted(bench.folder.iterdir())
    with pytest.raises(DataError, match=r"bad.jsonl:2: "):
        bench.train(bench.folder / "text", bench.folder / "bad.jsonl")
    assert sorted(bench.folder.iterdir()) == before
    assert [path.name for path in (bench.folder / "out").iterdir()] == ["tokenizer.json"]


def test_bad_lines_can_be_passed_over_and_kept(bench: Bench) -> None:
    (bench.folder / "bad.jsonl").write_text('{"text": "hello hello"}\n{"text": \n{"text": "hello"}\n')
    rejects = bench.folder / "rejects.jsonl"
    report = bench.train(bench.folder / "bad.jsonl", sources={"rejects": rejects})
    assert (report.bad_lines, report.documents) == (1, 2)
    (reject,) = map(json.loads, rejects.read_text().splitlines())
    assert reject["_line"] == '{"text": ' and reject["_reject"]["line"] == 2


def test_too_little_memory_stops_before_anything_is_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_tokenizer_plan, "available_memory_bytes", lambda: 1 << 20)
    with pytest.raises(ResourceError, match="bytes of memory"):
        bench.train(bench.folder / "text")
    assert not (bench.folder / "out").exists()


def test_progress_is_told_how_much_text_is_in(bench: Bench) -> None:
    heard: list[tuple[float, float | None, dict[str, float | str]]] = []

    class Listener:
        def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
            heard.append((done, total, fields))

        def note(self, message: str) -> None:
            raise AssertionError

    size = sum(len(text.encode()) for text in PARAGRAPHS)
    sources = TrainTokenizerSources(inputs=[bench.folder / "text"], out=bench.folder / "out")
    train_tokenizer_files(
        sources,
        TrainTokenizerConfig(vocab_size=400, type="unigram"),
        invocation=Invocation("train-tokenizer"),
        progress=Listener(),
    )
    counting = [(done, total) for done, total, fields in heard if fields["phase"] == "counting words"]
    assert counting[0][1] == size and counting == sorted(counting)
    assert heard[-1] == (size, None, {"phase": "measuring"})
