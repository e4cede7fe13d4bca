"""Phases with barriers between them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.errors import StoppedResumable
from llmkit.workflows.executors import executor_of
from llmkit.workflows.phases import Phases
from llmkit.workflows.units import Output, Unit, output_of


class Task(msgspec.Struct):
    number: int


def square(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    path = folder / f"{unit.name}.txt"
    path.write_text(str(unit.task["number"] ** 2))
    return [output_of(path, folder, 1)], {"square": unit.task["number"] ** 2}


class Seen:
    def __init__(self) -> None:
        self.figures: list[tuple[float, float | None, Any]] = []

    def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
        self.figures.append((done, total, fields["phase"]))

    def note(self, message: str) -> None:
        raise AssertionError(message)


def phases(folder: Path, shard: str | None = None, progress: Any = None) -> Phases:
    return Phases(
        folder=folder,
        executor=executor_of("inline", 1),
        fingerprint="f",
        shard=shard,
        progress=progress or Seen(),
    )


def test_a_phase_gives_receipts_in_the_order_of_its_tasks_and_is_remembered(tmp_path: Path) -> None:
    seen = Seen()
    job = phases(tmp_path, progress=seen)
    receipts = job.run("square", square, [Task(3), Task(5)])
    assert [receipt.report["square"] for receipt in receipts] == [9, 25]
    (alone,) = job.run("last", square, [Task(2)], digits=0)
    assert alone.unit == "last" and [unit.name for unit in job.done] == [
        *("square-00000", "square-00001", "last")
    ]
    assert seen.figures == [(1, 2, "square"), (2, 2, "square"), (1, 1, "last")]


def test_a_shard_waits_for_the_others(tmp_path: Path) -> None:
    with pytest.raises(StoppedResumable, match="1 of 3 units of the phase 'square' are still missing"):
        phases(tmp_path, "1/2").run("square", square, [Task(n) for n in range(3)])
    found = phases(tmp_path, "2/2").run("square", square, [Task(n) for n in range(3)])
    assert [receipt.report["square"] for receipt in found] == [0, 1, 4]
