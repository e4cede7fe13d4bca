"""The workbench, made once a test run; copies of it, and a disk that fills up."""

import fcntl
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workbench import STEPS, Workbench, write_texts


@pytest.fixture(scope="session")
def original(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config, forked_llmkit: Path
) -> Path:
    """The workbench itself: not to be written to. Workers of one test run share it."""
    base = tmp_path_factory.getbasetemp()
    is_worker = hasattr(pytestconfig, "workerinput")  # pytest-xdist's own mark; its fixtures may be off
    folder = (base.parent if is_worker else base) / "workbench"
    folder.parent.mkdir(exist_ok=True, parents=True)
    with (folder.parent / "workbench.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            write_texts(folder)
            for line in STEPS:
                done = Workbench(folder, forked_llmkit).run(line)
                assert done.status == 0, f"{line}\n{done.err}"
            (folder / "ready").touch()
    return folder


@pytest.fixture(scope="session")
def bench(original: Path, forked_llmkit: Path) -> Workbench:
    """The workbench, for lines that write nothing."""
    return Workbench(original, forked_llmkit)


@pytest.fixture
def copy(original: Path, tmp_path: Path, forked_llmkit: Path) -> Workbench:
    """A copy of the workbench, for lines that write."""
    shutil.copytree(original, tmp_path / "bench", ignore=shutil.ignore_patterns("ready"))
    return Workbench(tmp_path / "bench", forked_llmkit)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Make a disk of so many bytes; needs root."""
    mounted: list[Path] = []

    def make(size: int) -> Path:
        disk = tmp_path / f"disk{len(mounted)}"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no permission to mount a small disk")
        mounted.append(disk)
        return disk

    yield make
    for disk in mounted:
        subprocess.run(["umount", disk], check=True)
