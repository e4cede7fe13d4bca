"""Flags that divide a run over processes."""

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from zygote import EXECUTABLE

from llmkit.commands.console import Console
from llmkit.commands.parallel_flags import (
    Processes,
    Replicas,
    count_processes,
    refuse_processes,
    speaking,
    start_processes,
)
from llmkit.errors import ConfigError, UsageError
from llmkit.workflows.run import launch as run_launch
from llmkit.workflows.run.ranks import Division


@pytest.fixture(autouse=True)
def no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[str], int, int]]:
    """What was launched."""
    calls: list[tuple[Sequence[str], int, int]] = []

    def launch(arguments: Sequence[str], processes: int, *, max_restarts: int) -> int:
        calls.append((arguments, processes, max_restarts))
        return 3

    monkeypatch.setattr(run_launch, "launch", launch)
    return calls


def test_the_processes_get_this_command_line_and_their_status_is_this_ones(
    started: list[tuple[Sequence[str], int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["llmkit", "pretrain", "--nproc", "2"])
    with pytest.raises(typer.Exit) as stop:
        start_processes(Processes(nproc=2, fsdp=2, max_restarts=1))
    assert stop.value.exit_code == 3
    assert started == [(["pretrain", "--nproc", "2"], 2, 1)]


def test_nothing_is_started_where_it_is_one_of_them_or_alone(
    started: list[tuple[Sequence[str], int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_processes(Processes())
    start_processes(Processes(nproc=1))
    monkeypatch.setenv("WORLD_SIZE", "2")
    start_processes(Processes(nproc=2))
    assert started == []


def test_numbers_that_do_not_fit_are_refused_before_anything_is_started(
    started: list[tuple[Sequence[str], int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="--tp 3 makes 3 processes, but the run has 2"):
        start_processes(Processes(nproc=2, tp=3))
    with pytest.raises(UsageError, match="--max-restarts without --nproc"):
        start_processes(Processes(max_restarts=1))
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UsageError, match="--nproc 2, but torchrun started 4"):
        start_processes(Processes(nproc=2))
    assert started == []


def test_a_run_is_tried_in_one_process() -> None:
    refuse_processes(Processes())
    with pytest.raises(UsageError, match="--fsdp: --find-lr and --overfit-batch try one process"):
        refuse_processes(Processes(fsdp=2))


def test_processes_are_counted_without_a_start(
    started: list[tuple[Sequence[str], int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [count_processes(one) for one in (Processes(), Processes(nproc=3))] == [1, 3]
    with pytest.raises(UsageError, match="--max-restarts without --nproc"):
        count_processes(Processes(max_restarts=1))
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert [count_processes(one) for one in (Processes(), Processes(nproc=4))] == [4, 4]
    with pytest.raises(UsageError, match="--nproc 2, but torchrun started 4"):
        count_processes(Processes(nproc=2))
    assert started == []


def test_only_the_first_process_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(verbose=True)
    assert speaking(console) is console
    monkeypatch.setenv("RANK", "1")
    assert speaking(console).quiet


def test_the_division_is_what_the_flags_say() -> None:
    assert Replicas(nproc=2).division() == Division()
    assert Processes(dp=2, tp=2).division() == Division(dp=2, fsdp=None, tp=2, pp=1)
    assert Processes(ep=2).division() == Division(ep=2)
    assert Processes(cp=2, fsdp=2).division() == Division(cp=2, fsdp=2)


def test_experts_in_two_processes_are_learnt_as_in_one(
    llmkit_run: Callable[..., Any],
    shell: Callable[..., Any],
    forked_python: Path,
    byte_level_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("the cat sat on the mat; the dog ran to the cat. " * 20)
    line = (
        f"pretrain --data text.txt -t {shlex.quote(str(byte_level_dir))} --preset tiny-moe --hidden-size 16"
        " --head-dim 8 --num-hidden-layers 1 --moe-intermediate-size 16 --seq-len 16 --batch-rows 4 --steps 3"
        " --threads 1 -q"
    )
    assert llmkit_run(*shlex.split(line), "-o", "alone").status == 0
    done = shell(f"llmkit {line} -o both --nproc 2 --ep 2", env={EXECUTABLE: str(forked_python)})
    assert done.status == 0, done.err
    found = {}
    for run in ("alone", "both"):
        records = map(json.loads, Path(run, "metrics.jsonl").read_text().splitlines())
        found[run] = [one["loss"] for one in records if "event" not in one]
    assert len(set(found["alone"])) == 3 and found["both"] == pytest.approx(found["alone"], rel=1e-5)
    assert json.loads(Path("both/checkpoints/step-00000003/state.json").read_text())["division"] == "ep 2"
