"""A profile in a run's folder: where it lies, that it opens, and what is said where there is none."""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from llmkit.train.step_profile import OperatorCost
from llmkit.workflows.run.profile import profile_duty, write_trace


class Log:
    """A RunLog that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.profiles: list[tuple[int, int, str, list[OperatorCost]]] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def profiled(self, *told: Any) -> None:
        self.profiles.append(told)


def watch(
    out: Path, profile: str | None, *, step: int = 0, steps: int = 6, first: bool = True, **more: Any
) -> Log:
    """Run what is left of a run of `steps` updates."""
    job = SimpleNamespace(config=SimpleNamespace(profile=profile), files=SimpleNamespace(out=out))
    trainer = SimpleNamespace(
        ranks=SimpleNamespace(is_first=first),
        recipe=SimpleNamespace(steps=steps),
        step=step,
        device=torch.device("cpu"),
    )
    log = Log()
    duty = profile_duty(job, trainer, log, **more)  # type: ignore[arg-type]
    for number in range(step + 1, steps + 1):
        with duty(number):
            torch.ones(3) + 1
    return log


def test_the_trace_lies_in_the_run_and_opens(tmp_path: Path) -> None:
    log = watch(tmp_path, "2:2", step=1)
    ((first, last, path, costs),) = log.profiles
    assert (first, last, path) == (4, 5, "profile/steps-4-5.trace.json.gz")  # after two more updates
    trace = json.loads(gzip.decompress((tmp_path / path).read_bytes()))
    assert any(one.get("name") == "aten::add" for one in trace["traceEvents"])
    assert "aten::add" in [one.name for one in costs]
    assert [one.name for one in (tmp_path / "profile").iterdir()] == ["steps-4-5.trace.json.gz"]


@pytest.mark.parametrize(("profile", "first"), [(None, True), ("1:1", False)])
def test_without_the_flag_and_on_other_processes_nothing_is_recorded(
    tmp_path: Path, profile: str | None, first: bool
) -> None:
    log = watch(tmp_path, profile, first=first)
    assert (log.notes, log.profiles, list(tmp_path.iterdir())) == ([], [], [])


def test_a_run_that_ends_before_says_so_and_one_that_ends_within_records_less(tmp_path: Path) -> None:
    log = watch(tmp_path, "6:3")
    assert log.profiles == [] and "after 6 more steps; nothing is recorded" in log.notes[0]
    assert watch(tmp_path, "5:3").profiles[0][:2] == (6, 6)
    assert watch(tmp_path, "6:3", step=6).notes == []  # complete: nothing was asked of it


def test_no_trace_is_written_into_a_folder_that_is_anothers(tmp_path: Path) -> None:
    def refuse() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        watch(tmp_path, "2:2", check=refuse)
    assert list(tmp_path.iterdir()) == []


def test_a_trace_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def export(path: Path) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_trace(export, tmp_path / "profile" / "a.json.gz")
    assert not (tmp_path / "profile").exists()
