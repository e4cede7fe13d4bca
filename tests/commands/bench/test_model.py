"""llmkit bench prefill, decode and train on the command line, on models of a few kilobytes."""

import csv
import inspect
import json
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.commands.bench import model as commands
from llmkit.commands.bench.flags import join
from llmkit.probe import machine_speed
from llmkit.probe.config import BenchDecodeConfig, BenchPrefillConfig, BenchTrainConfig
from llmkit.workflows.bench import model as workflow

Run = Callable[..., Any]
SIZES = {
    "prefill": ["--prompt", "4,8", "--depth", "0,3"],
    "decode": ["--tokens", "3-4", "--depth", "0,5"],
    "train": ["--batch-rows", "1-2", "--seq-len", "4,8"],
    "load": ["--dtype", "float32,bfloat16"],
}
ROWS = {"load": 2}
SHOWN = {"prefill": "TTFT ms", "decode": "MBU", "train": "MFU", "load": "first token ms"}


@pytest.fixture(autouse=True)
def small_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a gigabyte is not streamed in a test."""
    probe = machine_speed.SpeedProbe
    monkeypatch.setattr(workflow, "SpeedProbe", lambda: probe(stream_bytes=1 << 16, sides=(8,)))


@pytest.mark.parametrize("kind", SIZES)
def test_the_table_has_a_row_for_each_combination(
    llmkit_run: Run, tiny_model: Callable[..., Path], kind: str
) -> None:
    done = llmkit_run("bench", kind, tiny_model(), *SIZES[kind], "--threads", "1", "--rounds", "1")
    assert done.status == 0, done.err
    table = [line for line in done.text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + ROWS.get(kind, 4) and SHOWN[kind] in table[0] and "× peer" not in table[0]
    assert len({line.count("|") for line in table}) == 1
    assert "1 thread, float32: measured " in done.text and "sha256" in done.text


@pytest.mark.parametrize("bench_format", ["json", "jsonl", "csv"])
def test_machines_read_the_same_cases_in_every_format(llmkit_run: Run, bench_format: str) -> None:
    line = [
        "bench",
        "prefill",
        "--preset",
        "nanogpt-cpu",
        "--prompt",
        "4,8",
        "--threads",
        "1",
        "--rounds",
        "2",
    ]
    done = llmkit_run(*line, "--format", bench_format)
    assert done.status == 0, done.err
    names = [f"llmkit prompt={prompt} depth=0 threads=1 dtype=float32 weights=stored" for prompt in (4, 8)]
    if bench_format == "csv":
        rows = list(csv.DictReader(done.text.splitlines()))
        assert [row["prompt"] for row in rows] == ["4", "8"] and rows[0]["ratio"] == ""
        assert [len(row["seconds"].split()) for row in rows] == [2, 2]
    elif bench_format == "jsonl":
        rows = [json.loads(row) for row in done.text.splitlines()]
        assert all(row["environment"]["cpu"] and row["work"]["parameters"] for row in rows)
    else:
        rows = json.loads(done.text)["rows"]
    assert [row["name"] for row in rows] == names


def test_a_baseline_that_was_faster_is_1_and_one_of_another_bench_is_3_at_once(
    llmkit_run: Run, tmp_path: Path
) -> None:
    line = ["bench", "decode", "--preset", "nanogpt-cpu", "--threads", "1", "--rounds", "1", "--tokens"]
    report = msgspec.json.decode(llmkit_run(*line, "2", "--format", "json").out)
    for row in report["rows"]:
        row["tokens_per_second"] *= 1000
    baseline = tmp_path / "base.json"
    baseline.write_bytes(msgspec.json.encode(report))
    done = llmkit_run(*line, "2,3", "--baseline", baseline, "--fail-slower", "50%")
    assert done.status == 1 and "tokens/s, was" in done.err and "tokens=3" not in done.err
    assert done.text.startswith("| engine")  # the figures are told all the same
    other = llmkit_run("bench", "prefill", "--preset", "nanogpt-cpu", "--prompt", "4", "--baseline", baseline)
    assert (other.status, other.out) == (3, b"") and "bench decode" in other.err


def test_a_case_that_the_baseline_lacks_is_told(llmkit_run: Run, tmp_path: Path) -> None:
    line = ["bench", "decode", "--preset", "nanogpt-cpu", "--threads", "1", "--rounds", "1", "--tokens"]
    report = msgspec.json.decode(llmkit_run(*line, "2", "--format", "json").out)
    for row in report["rows"]:
        row["tokens_per_second"] /= 1000
    baseline = tmp_path / "base.json"
    baseline.write_bytes(msgspec.json.encode(report))
    done = llmkit_run(*line, "2,3", "--baseline", baseline)
    assert done.status == 0 and "has no case llmkit tokens=3 " in done.err


@pytest.mark.parametrize("bench_format", ["md", "json", "jsonl", "csv"])
def test_a_dry_run_names_the_cases_and_measures_nothing(
    llmkit_run: Run, monkeypatch: pytest.MonkeyPatch, bench_format: str
) -> None:
    monkeypatch.setattr(workflow, "bench_model", None)
    line = ["bench", "train", "--preset", "tiny", "--seq-len", "16,32", "--threads", "1", "-n"]
    done = llmkit_run(*line, "--format", bench_format)
    assert (done.status, done.err) == (0, "")
    names = [f"llmkit batch_rows=4 seq_len={length} threads=1 dtype=float32" for length in (16, 32)]
    if bench_format == "md":
        assert "bench train of tiny, 1.26M parameters; 5 rounds and one to warm up" in done.text
    elif bench_format == "csv":
        assert [row["name"] for row in csv.DictReader(done.text.splitlines())] == names
    else:
        lines = [json.loads(row) for row in done.text.splitlines()]
        assert [one["name"] for one in (lines[0]["cases"] if bench_format == "json" else lines)] == names


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        (["prefill"], 2, "no model"),
        (["prefill", "nowhere"], 4, "nowhere"),
        (["decode", "nowhere", "--preset", "tiny"], 2, "--preset tiny"),
        (["decode", "--preset", "tinny"], 2, "tinny"),
        (["decode", "--preset", "tiny", "--tokens", "512"], 2, "514 positions"),
        (["prefill", "--preset", "tiny", "--depth", "1"], 2, "514 positions"),
        (["prefill", "--preset", "tiny", "--prompt", "0"], 2, "--prompt"),
        (["train", "--preset", "tiny", "--dtype", "float16"], 2, "float16"),
        (["train", "--preset", "tiny", "--seq-len", "1k"], 2, "1,000 positions"),
        (["train", "--preset", "tiny", "--dtype", "int8"], 2, "int8"),
        (["decode", "--preset", "tiny", "--threads", "4-1"], 2, "4-1"),
        (["decode", "--preset", "tiny", "--against", "mlx"], 2, "mlx"),
        (["decode", "--preset", "tiny", "--weights", "int3"], 2, "int3"),
        (["decode", "--preset", "tiny", "--weights", "int4", "--kernels", "torch"], 2, "--kernels torch"),
        (["prefill", "--preset", "tiny", "--prompt", "8", "--against", "llama.cpp:no"], 4, "no libllama"),
        (["train", "--preset", "tiny", "--against", "llama.cpp"], 2, "no bench train"),
    ],
)
def test_a_wrong_line_is_two_lines_on_stderr(
    llmkit_run: Run, line: list[str], status: int, says: str
) -> None:
    done = llmkit_run("bench", *line)
    assert (done.status, done.out) == (status, b"")
    first, second = done.err.splitlines()
    assert says in first and second.startswith("  hint: ")


@pytest.mark.parametrize(
    ("command", "config"),
    [
        (commands.prefill, BenchPrefillConfig),
        (commands.decode, BenchDecodeConfig),
        (commands.train, BenchTrainConfig),
    ],
)
def test_every_setting_has_a_flag_with_the_same_default(command: Any, config: type[Any]) -> None:
    flags = inspect.signature(command).parameters
    for one in fields(config):
        shown = join(one.default) if isinstance(one.default, tuple) else one.default
        assert flags[one.name].default == shown, one.name


@pytest.mark.parametrize("kind", SIZES)
def test_a_busy_machine_is_refused_where_quiet_is_required(
    llmkit_run: Run, tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 99.0, 99.0))
    line = ["bench", kind, tiny_model(), *SIZES[kind], "--threads", "1", "--rounds", "1"]
    busy = llmkit_run(*line, "--require-quiet")
    assert (busy.status, busy.out) == (5, b"") and "the machine is busy (load average 99.0)" in busy.err
    done = llmkit_run(*line)
    assert done.status == 0 and "noisy" in done.text + done.err


@pytest.mark.parametrize(
    ("bench", "offered"), [("prefill", True), ("decode", True), ("train", False), ("load", False)]
)
def test_the_peers_offered_are_those_that_are_taken(llmkit_run: Run, bench: str, offered: bool) -> None:
    told = llmkit_run("bench", bench, "--help").text
    assert ("llama.cpp" in told) is offered and "transformers" in told
