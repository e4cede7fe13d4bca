"""Ctrl-C and SIGTERM while a command works: quickly, in one line, with nothing half-written."""

import os
import signal
import time
from pathlib import Path

import pytest
from contract_table import TABLE
from workbench import Workbench

LONG = [name for name, lines in TABLE.items() if lines.long]
RUNS = ("pretrain", "finetune")
"""Those that save what they have, and go on."""
PATIENCE = 10.0  # a second on a machine that is free; tests run on one that is not


@pytest.fixture(scope="module")
def inputs(original: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Inputs that take many seconds: 240 MB, made once."""
    folder = tmp_path_factory.mktemp("big")
    for name, part in (("big.txt", "corpus.txt"), ("big.jsonl", "docs.jsonl")):
        (folder / name).write_bytes((original / part).read_bytes() * 2000)
    return sorted(folder.iterdir())


@pytest.fixture
def big(copy: Workbench, inputs: list[Path]) -> Workbench:
    """A copy of the workbench with the inputs that take many seconds."""
    for path in inputs:
        (copy.folder / path.name).hardlink_to(path)
    return copy


def _stop(bench: Workbench, line: str, number: int) -> tuple[int, str, float]:
    """Start a line, wait until it reports progress, send a signal to its group; status, stderr, seconds."""
    running = bench.start(f"exec {line}")
    assert running.stderr is not None
    first = running.stderr.readline()  # a line of progress: it is at work
    assert first, "ended before it said anything"
    sent = time.monotonic()
    os.killpg(running.pid, number)
    _, rest = running.communicate(timeout=60)
    return running.returncode, rest.decode(), time.monotonic() - sent


@pytest.mark.parametrize("command", LONG)
def test_ctrl_c_is_one_line_130_and_leaves_nothing_behind(big: Workbench, command: str) -> None:
    before = sorted(path.name for path in big.folder.iterdir())
    status, err, seconds = _stop(big, TABLE[command].long, signal.SIGINT)
    said = [line for line in err.splitlines() if not line.startswith(_task(err))]
    assert status == 130, err
    assert [line for line in said if line.startswith("llmkit: interrupted")] == said[-1:], err
    assert "Traceback" not in err
    assert seconds < PATIENCE
    if command != "pretrain":  # its run folder is there to be resumed
        assert sorted(path.name for path in big.folder.iterdir()) == before


@pytest.mark.parametrize("command", [name for name in LONG if name not in RUNS])
def test_sigterm_is_143_and_leaves_the_old_output(big: Workbench, command: str) -> None:
    old = big.folder / "out"
    if command not in ("tokenize", "retrieve index"):  # which write a file
        old.mkdir()
        old /= "llmkit.json"
    old.write_text("old")
    before = sorted(path.name for path in big.folder.rglob("*"))
    status, err, _ = _stop(big, TABLE[command].long, signal.SIGTERM)
    assert status == 143 and "Traceback" not in err
    assert sorted(path.name for path in big.folder.rglob("*")) == before
    assert old.read_text() == "old"


def test_sigterm_saves_a_run_and_the_same_line_goes_on(big: Workbench) -> None:
    status, err, _ = _stop(big, TABLE["pretrain"].long, signal.SIGTERM)
    assert status == 75 and "Traceback" not in err
    assert (big.folder / "out" / "config.json").exists() or (big.folder / "out" / "checkpoints").exists()


def _task(err: str) -> str:
    """The word that progress lines begin with."""
    return err.split(" ", 1)[0] if err and not err.startswith("llmkit") else "\0"
