"""The folder of a job: whole under its name or not there, kept for the same job only, shared by shards."""

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import StoppedResumable, UsageError
from llmkit.formats.resumable import partial_path
from llmkit.workflows import unit_folder as module
from llmkit.workflows.executors import Inline
from llmkit.workflows.unit_folder import finish_units, unit_folder
from llmkit.workflows.units import Output, Unit, output_of, run_units

UNITS = [Unit(f"write-{number:05d}", {}) for number in range(4)]


def write(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, int]]:
    path = folder / f"{unit.name}.txt"
    path.write_text(unit.name)
    return [output_of(path, folder, rows=1)], {}


def do(folder: Path, units: list[Unit], fingerprint: str = "f") -> None:
    run_units(write, units, folder=folder, executor=Inline(), fingerprint=fingerprint)


def close(folder: Path) -> None:
    (folder / "llmkit.json").touch()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_folder_has_its_name_when_all_units_are_done_and_holds_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with unit_folder(out, "f") as folder:
        do(folder, UNITS[:3])
        (folder / ".write-00003.txt.tmp-999999999").write_text("of a dead process")
    assert finish_units(out, UNITS, "f", close) is None and not out.exists()
    with unit_folder(out, "f") as folder:
        do(folder, UNITS)
    receipts = finish_units(out, UNITS, "f", close)
    assert receipts is not None and [receipt.unit for receipt in receipts] == [unit.name for unit in UNITS]
    assert names(out) == {*(f"{unit.name}.txt" for unit in UNITS), "llmkit.json"}
    assert names(tmp_path) == {"out"}
    assert finish_units(out, UNITS, "f", close) is None  # nothing left to finish


def test_another_job_under_the_same_name_starts_afresh(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with unit_folder(out, "f") as folder:
        do(folder, UNITS)
    with unit_folder(out, "g") as folder:
        assert names(folder) == {".key", ".lock"}
    assert finish_units(out, UNITS, "f", close) is None


def test_an_old_output_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    with unit_folder(out, "f") as folder:
        do(folder, UNITS)
    assert names(out) == {"old"}
    finish_units(out, UNITS, "f", close)
    assert "old" not in names(out)


def test_shards_hold_it_together_and_the_last_to_leave_finishes_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with unit_folder(out, "f", shared=True) as mine:
        with unit_folder(out, "f", shared=True) as theirs:
            do(theirs, UNITS[1::2])
        assert finish_units(out, UNITS, "f", close) is None  # ours is still at work
        do(mine, UNITS[::2])
    assert finish_units(out, UNITS, "f", close) is not None
    assert len(names(out)) == 5


@pytest.mark.parametrize(
    ("first", "second", "job"), [(False, False, "f"), (True, False, "f"), (True, True, "g")]
)
def test_a_process_that_would_disturb_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool, second: bool, job: str
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.1)
    out = tmp_path / "out"
    with unit_folder(out, "f", shared=first) as folder:
        do(folder, UNITS)
        with pytest.raises(UsageError, match="another process"), unit_folder(out, job, shared=second):
            pass
        assert len(names(folder)) == 7
    assert partial_path(out).exists()


def test_a_shard_that_lets_others_in_finds_its_own_job_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, lock, others = tmp_path / "out", fcntl.flock, ["g"]

    def lets_another_in(file: Any, kind: int) -> None:
        if kind & fcntl.LOCK_SH and others:  # no process holds a lock while it turns one into another
            lock(file, fcntl.LOCK_UN)
            job = others.pop()
            with unit_folder(out, job) as folder:
                do(folder, UNITS, job)
            assert finish_units(out, UNITS, job, close) is not None
        lock(file, kind)

    monkeypatch.setattr(fcntl, "flock", lets_another_in)
    with unit_folder(out, "f", shared=True) as folder:
        assert not others and names(folder) == {".key", ".lock"}
        assert (folder / ".key").read_text() == "f"
        do(folder, UNITS)
    assert finish_units(out, UNITS, "f", close) is not None


def test_who_would_finish_a_folder_that_another_finishes_leaves_nothing(
    tmp_path: Path, before_lock: Callable[[Callable[[], object]], None]
) -> None:
    out = tmp_path / "out"
    with unit_folder(out, "f") as folder:
        do(folder, UNITS)
    before_lock(lambda: finish_units(out, UNITS, "f", close))
    assert finish_units(out, UNITS, "f", close) is None
    assert names(tmp_path) == {"out"} and len(names(out)) == 5


@pytest.mark.parametrize("shared", [False, True])
def test_work_that_is_stopped_says_that_the_same_line_goes_on(tmp_path: Path, shared: bool) -> None:
    with (
        pytest.raises(StoppedResumable, match=r"out: stopped \(SIGTERM\)"),
        unit_folder(tmp_path / "out", "f", shared=shared),
    ):
        raise SystemExit(143)
    with (
        pytest.raises(KeyboardInterrupt, match=r"^with what is done kept: the same line goes on$"),
        unit_folder(tmp_path / "out", "f", shared=shared),
    ):
        raise KeyboardInterrupt
