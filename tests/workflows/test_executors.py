"""Executors: the same receipts and bytes from each, errors as themselves, a killed worker loses nothing."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, MissingError, ResourceError, UsageError
from llmkit.workflows.executors import Executor, Inline, Processes, Ray, executor_of
from llmkit.workflows.units import Output, Receipt, Unit, output_of, run_units

UNITS = [Unit(f"write-{number:05d}", {"n": number}) for number in range(5)]


def write(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """A file of n lines; kills its process on n = 2 once, on n = 7 always; n = 9 is an error."""
    n = unit.task["n"]
    mark = folder / "killed"
    if n == 7 or (n == 2 and (folder / "kill").exists() and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if n == 9:
        raise DataError("nine: bad", hint="mend it")
    path = folder / f"{unit.name}.txt"
    path.write_text("line\n" * n)
    return [output_of(path, folder, rows=n)], {"rows": n}


def do(folder: Path, executor: Executor, units: list[Unit] = UNITS) -> list[Receipt]:
    folder.mkdir(exist_ok=True)
    return run_units(write, units, folder=folder, executor=executor, fingerprint="f")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


def test_processes_give_the_receipts_and_files_of_one_process_though_a_worker_was_killed(
    tmp_path: Path,
) -> None:
    alone = do(tmp_path / "a", Inline())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "kill").touch()
    assert do(tmp_path / "b", Processes(2)) == alone
    assert (tmp_path / "b" / "killed").exists()
    assert files(tmp_path / "b") == files(tmp_path / "a")


def test_a_worker_gets_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    units = [Unit(f"write-{n}", {"n": n, "file": os.fsdecode(b"caf\xe9")}) for n in range(2)]
    assert do(tmp_path / "b", Processes(2), units) == do(tmp_path / "a", Inline(), units)


def test_a_unit_that_kills_its_workers_is_named_and_the_others_keep_their_receipts(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="write-7: 3 workers died"):
        do(tmp_path, Processes(2), [*UNITS[:2], Unit("write-7", {"n": 7})])
    assert {path.stem for path in (tmp_path / ".receipts").iterdir()} == {"write-00000", "write-00001"}


def test_an_error_of_a_unit_in_a_process_is_that_error_here(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nine: bad"):
        do(tmp_path, Processes(2), [Unit("write-9", {"n": 9})])


def test_the_executor_goes_by_name_and_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(executor_of("process", 1), Inline)
    assert isinstance(executor_of("process", 2), Processes)
    assert isinstance(executor_of("inline", 2), Inline)
    with pytest.raises(UsageError, match="--workers 0"):
        executor_of("process", 0)
    with pytest.raises(UsageError, match="no executor is called 'dask'"):
        executor_of("dask", 2)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError, match="ray") as caught:
        executor_of("ray", 2)
    assert caught.value.hint == "pip install 'llmkit[ray]'"


@pytest.mark.filterwarnings("default")  # ray's own
def test_ray_gives_the_receipts_and_files_of_one_process_though_a_worker_was_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    alone = do(tmp_path / "a", Inline())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "kill").touch()
    assert do(tmp_path / "b", Ray(2)) == alone
    assert (tmp_path / "b" / "killed").exists()
    assert files(tmp_path / "b") == files(tmp_path / "a")
    with pytest.raises(DataError, match="nine: bad"):
        do(tmp_path / "c", Ray(2), [Unit("write-9", {"n": 9})])
