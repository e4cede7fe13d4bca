"""Processes started by torchrun's launcher."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from torch.distributed.elastic.rendezvous import dynamic_rendezvous

from llmkit.errors import StoppedResumable
from llmkit.formats.lock import lock_folder
from llmkit.workflows.run import launch as run_launch
from llmkit.workflows.run import stopped
from llmkit.workflows.run.launch import launch, threads_of
from llmkit.workflows.run.ranks import RESTARTS


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of llmkit: a program that starts at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_launch, "MODULE", "program")
    # asks for its caller's name, for a log that nobody keeps: 0.2 s of pytest's deep stack, 20 times
    monkeypatch.setattr(dynamic_rendezvous, "get_method_name", lambda: "")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # nothing is imported from the working folder
    return tmp_path / "program.py"


def test_each_process_knows_its_place_and_the_status_is_the_firsts(program: Path) -> None:
    program.write_text(
        "import os, pathlib, sys\n"
        "rank = os.environ['RANK']\n"
        "pathlib.Path(rank).write_text(' '.join(sys.argv[1:]) + os.environ['WORLD_SIZE'])\n"
    )
    assert launch(["--steps", "3"], 2, max_restarts=0) == 0
    assert [(program.parent / rank).read_text() for rank in "01"] == ["--steps 32"] * 2


def test_processes_share_the_cores_unless_the_environment_says_otherwise(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)  # under taskset
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_of(count) for count in (1, 2, 3, 16)] == [8, 4, 2, 1]
    program.write_text(
        "import os, pathlib\npathlib.Path('threads').write_text(os.environ['OMP_NUM_THREADS'])\n"
    )
    assert launch([], 2, max_restarts=0) == 0
    assert (program.parent / "threads").read_text() == "4"
    for told in ("3", "3,2"):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        assert threads_of(2) == 3


def test_an_error_of_the_first_process_is_the_status_of_all(program: Path) -> None:
    program.write_text(
        "import os, pathlib, sys, time\n"
        "if os.environ['RANK'] == '0':\n"
        f"    pathlib.Path(os.environ['{run_launch.STATUS}']).write_text('3')\n"
        "    sys.exit(3)\n"
        "time.sleep(60)\n"
    )
    assert launch([], 2, max_restarts=0) == 3


def test_a_process_that_is_killed_is_named_and_restarted_where_that_is_asked_for(program: Path) -> None:
    program.write_text(
        "import os, pathlib, signal, time\n"
        "if os.environ['RANK'] == '1' and os.environ['LLMKIT_RESTARTS'] == '0':\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "time.sleep(0.2)\n"
    )
    with pytest.raises(StoppedResumable, match="process 1 of 2 was ended by SIGKILL"):
        launch([], 2, max_restarts=0)
    assert launch([], 2, max_restarts=1) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell that a process is stopped")
def test_a_process_that_is_stopped_is_lost_too_and_told_for_what_it_is(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopped, "STOPPED_SECONDS", 0.3)
    monkeypatch.setattr(stopped, "_LOOK_SECONDS", 0.1)
    program.write_text(
        "import os, signal, time\n"
        "if os.environ['LLMKIT_RESTARTS'] == '0':\n"
        "    if os.environ['RANK'] == '1':\n"
        "        os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    time.sleep(60)\n"
    )
    with pytest.raises(StoppedResumable, match=r"process 1 of 2 was stopped \(SIGSTOP\), and ended after"):
        launch([], 2, max_restarts=0)
    assert launch([], 2, max_restarts=1) == 0


@pytest.mark.parametrize(("told", "code", "expected", "attempts"), [
    ("3", 3, 3, 1),
    ("75", 75, 75, 1),
    ("", 70, 70, 1),
    ("", 75, 75, 3),
])  # fmt: skip
def test_what_is_no_loss_of_a_process_is_not_tried_again(
    program: Path, told: str, code: int, expected: int, attempts: int
) -> None:
    program.write_text(
        "import os, pathlib, sys, time\n"
        "if os.environ['RANK'] == '1':\n"
        "    time.sleep(60)\n"
        "with open('attempts', 'a') as file:\n"
        f"    file.write(os.environ['{RESTARTS}'])\n"
        f"if {told!r}:\n"
        f"    pathlib.Path(os.environ['{run_launch.STATUS}']).write_text({told!r})\n"
        f"sys.exit({code})\n"
    )
    assert launch([], 2, max_restarts=2) == expected
    assert (program.parent / "attempts").read_text() == "012"[:attempts]


def test_a_signal_before_the_first_process_spoke_ends_the_launcher_as_it_ends_others(program: Path) -> None:
    before = [signal.getsignal(number) for number in run_launch.PASSED_ON]
    program.write_text(
        "import os, pathlib, signal, time\n"
        "started = pathlib.Path('started')\n"  # or the launcher hears of it while it starts one
        "if os.environ['RANK'] == '0':\n"
        "    while not started.exists():\n"
        "        time.sleep(0.01)\n"
        "    os.kill(os.getppid(), signal.SIGTERM)\n"
        "started.touch()\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(SystemExit, match="143"):
        launch([], 2, max_restarts=2)
    assert [signal.getsignal(number) for number in run_launch.PASSED_ON] == before


def test_processes_that_are_started_again_find_each_other_and_not_those_before_them(
    program: Path, forked_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second asks for the first one's address long before the new first has told it."""
    monkeypatch.setattr(sys, "executable", str(forked_python))  # it need not import torch
    program.write_text(
        "import os, signal, time\n"
        "from llmkit.workflows.run.ranks import Division, joined_ranks\n"
        "signal.alarm(100)\n"
        "again, rank = os.environ['LLMKIT_RESTARTS'] == '1', os.environ['RANK']\n"
        "if again and rank == '0':\n"
        "    time.sleep(0.7)\n"
        "with joined_ranks(Division().degrees(), 'cpu'):\n"
        "    if not again:\n"
        "        if rank == '1':\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        time.sleep(60)\n"
    )
    assert launch([], 2, max_restarts=1) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell that a parent ended")
def test_the_processes_end_with_the_one_that_launched_them_however_that_ends(program: Path) -> None:
    program.write_text(
        "import os, pathlib, time\n"
        "from llmkit.formats.lock import lock_folder\n"
        "from llmkit.workflows.run.launch import follow_launcher\n"
        "follow_launcher()\n"
        "held = lock_folder(pathlib.Path(os.environ['RANK']))\n"
        "pathlib.Path(os.environ['RANK'], 'ready').touch()\n"
        "time.sleep(100)\n"
    )
    line = (
        "from llmkit.workflows.run import launch\n"
        "launch.MODULE = 'program'\n"
        "launch.launch([], 2, max_restarts=0)"
    )
    folders = [program.parent / rank for rank in "01"]
    with subprocess.Popen([sys.executable, "-c", line], cwd=program.parent) as launcher:
        try:
            _wait(lambda: all((folder / "ready").exists() for folder in folders))
            assert not any(map(_is_free, folders))
        finally:
            launcher.kill()
    _wait(lambda: all(map(_is_free, folders)))


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell that a parent ended")
def test_a_process_whose_launcher_has_ended_already_ends_too() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    line = "from llmkit.workflows.run.launch import follow_launcher\nfollow_launcher()"
    environment = {**os.environ, run_launch.LAUNCHER: str(gone.pid)}
    done = subprocess.run([sys.executable, "-c", line], env=environment, check=False)
    assert done.returncode == -signal.SIGTERM


def test_a_hangup_that_was_to_be_ignored_ends_no_process(program: Path) -> None:
    program.write_text(
        "import os, signal, time\n"
        "if os.environ['RANK'] == '0':\n"
        "    os.kill(os.getppid(), signal.SIGHUP)\n"
        "time.sleep(0.2)\n"
    )
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert launch([], 2, max_restarts=0) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def _is_free(folder: Path) -> bool:
    held = lock_folder(folder)
    if held is not None:
        held.close()
    return held is not None


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.05)
