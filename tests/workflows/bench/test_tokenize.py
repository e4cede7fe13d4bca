"""llmkit bench tokenize: real rows, the same work on both sides, a baseline that can be failed."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from llmkit.errors import DataError, MissingError, ResourceError
from llmkit.probe import environment
from llmkit.probe.bench import BenchReport
from llmkit.probe.config import BenchTokenizeConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.bench import tokenize
from llmkit.workflows.bench.tokenize import PEER, bench_tokenize

QUICK = BenchTokenizeConfig(rounds=2, max_bytes=20_000)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "docs.jsonl"
    license_text = (Path(__file__).parents[3] / "LICENSE").read_text(encoding="utf-8")
    lines = [{"id": str(number), "text": part} for number, part in enumerate(license_text.split("\n\n"))]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    return path


@pytest.fixture(scope="module")
def report(corpus: Path, byte_level_dir: Path) -> BenchReport:
    return bench_tokenize([corpus], byte_level_dir, QUICK)


def test_the_rows_are_the_peer_arrays_and_shards(report: BenchReport) -> None:
    assert [row.name for row in report.rows] == [PEER, "llmkit to arrays", "llmkit to shards"]
    assert report.rows[0].ratio == 1.0
    assert [row.is_peer for row in report.rows] == [True, False, False]
    assert all(row.tokens_per_second > 0 and len(row.seconds) == 2 for row in report.rows)


def test_the_work_is_counted_by_the_library(report: BenchReport, corpus: Path, byte_level_dir: Path) -> None:
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(str(byte_level_dir / "tokenizer.json"))
    texts = [msgspec.json.decode(line)["text"] for line in corpus.read_bytes().splitlines()]
    assert report.work["documents"] == len(texts)
    assert report.work["tokens"] == sum(len(backend.encode(text)) for text in texts)


def test_the_peer_encodes_every_text_whatever_the_size_of_its_calls(
    byte_level_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = load_tokenizer(byte_level_dir).backend
    texts = ["one", "two words", "", "three"]
    whole = [encoding.ids for encoding in backend.encode_batch(texts, add_special_tokens=False)]
    for characters in (1, 8, 1 << 20):
        monkeypatch.setattr(tokenize, "_PEER_CHARACTERS", characters)
        parts = tokenize._by_peer(backend, texts)
        assert [encoding.ids for part in parts for encoding in part] == whole


def test_a_wrong_baseline_is_found_before_any_work(
    corpus: Path, byte_level_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(MissingError):
        bench_tokenize([corpus], byte_level_dir, QUICK, baseline=tmp_path / "none")
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match="not a report"):
        bench_tokenize([corpus], byte_level_dir, QUICK, baseline=tmp_path / "other.json")


def test_a_baseline_of_another_bench_tokenizer_or_text_is_found_before_any_work(
    report: BenchReport, corpus: Path, byte_level_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: object, **__: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr("llmkit.workflows.bench.tokenize.take_turns", measure)
    path = tmp_path / "b.json"
    others = {
        "bench decode": replace(report, bench="decode"),
        "another tokenizer": replace(report, work={**report.work, "tokenizer_sha256": "0"}),
        "other text": replace(report, work={**report.work, "bytes": 1}),
    }
    for what, other in others.items():
        path.write_bytes(msgspec.json.encode(other))
        with pytest.raises(DataError, match=what):
            bench_tokenize([corpus], byte_level_dir, QUICK, baseline=path)


def test_the_limit_of_text_counts_bytes(byte_level_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(
        b"".join(msgspec.json.encode({"id": str(n), "text": "\u4e00" * 10}) + b"\n" for n in range(9))
    )
    quick = BenchTokenizeConfig(rounds=1, max_bytes=50)
    assert bench_tokenize([path], byte_level_dir, quick).work["bytes"] == 60


def test_a_busy_machine_is_refused_when_quiet_is_required(
    corpus: Path, byte_level_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.os, "getloadavg", lambda: (99.0, 99.0, 99.0))
    with pytest.raises(ResourceError, match="machine is busy"):
        bench_tokenize([corpus], byte_level_dir, replace(QUICK, require_quiet=True))
    assert "load average 99.0" in str(bench_tokenize([corpus], byte_level_dir, QUICK).noisy)
