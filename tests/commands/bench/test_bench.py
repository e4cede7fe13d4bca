"""llmkit bench on the command line."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.commands.bench.bench import group

Run = Callable[..., Any]


@pytest.fixture
def line(byte_level_dir: Path, tmp_path: Path) -> list[object]:
    path = tmp_path / "a.txt"
    path.write_text("the License grants rights\n" * 50)
    return ["bench", "tokenize", "-t", byte_level_dir, path, "--rounds", "1", "--max-bytes", "1k"]


def test_the_table_is_markdown_with_the_machine_below(llmkit_run: Run, line: list[object]) -> None:
    done = llmkit_run(*line)
    assert done.status == 0
    table = done.text.splitlines()
    assert table[0].startswith("| case")
    assert [row.count("|") for row in table[:5]] == [8] * 5
    assert "tokenizers 0." in table[-1]


def test_jsonl_has_a_row_a_line_and_json_is_a_baseline(
    llmkit_run: Run, line: list[object], tmp_path: Path
) -> None:
    rows = [msgspec.json.decode(row) for row in llmkit_run(*line, "--format", "jsonl").out.splitlines()]
    assert [row["schema"] for row in rows] == ["llmkit.bench/1"] * 3
    baseline = tmp_path / "base.json"
    report = msgspec.json.decode(llmkit_run(*line, "--format", "json").out)
    for row in report["rows"]:
        row["tokens_per_second"] *= 1000
    baseline.write_bytes(msgspec.json.encode(report))
    done = llmkit_run(*line, "--baseline", baseline, "--fail-slower", "10%")
    assert done.status == 1
    assert "tokens/s, was" in done.err


def test_stdin_cannot_be_read_several_times(llmkit_run: Run, byte_level_dir: Path) -> None:
    done = llmkit_run("bench", "tokenize", "-t", byte_level_dir, "-", stdin=b"x")
    assert (done.status, len(done.err.splitlines())) == (2, 2)


def test_csv_has_a_header_and_a_row_a_case(llmkit_run: Run, line: list[object]) -> None:
    rows = list(csv.DictReader(llmkit_run(*line, "--format", "csv").text.splitlines()))
    assert [row["engine"] for row in rows] == ["tokenizers encode_batch", "llmkit", "llmkit"]
    assert all(float(row["tokens_per_second"]) > 0 for row in rows)


def test_the_group_has_a_bench_for_each_stage() -> None:
    assert list(group().commands) == ["prefill", "decode", "train", "load", "tokenize", "serve"]
