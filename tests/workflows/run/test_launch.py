"""Processes started by torchrun's launcher."""

import sys
from pathlib import Path

import pytest

from llmkit.errors import StoppedResumable
from llmkit.workflows.run import launch as run_launch
from llmkit.workflows.run.launch import launch, threads_of


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of llmkit: a program that starts at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_launch, "MODULE", "program")
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
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_of(count) for count in (1, 2, 3, 16)] == [8, 4, 2, 1]
    program.write_text(
        "import os, pathlib\npathlib.Path('threads').write_text(os.environ['OMP_NUM_THREADS'])\n"
    )
    assert launch([], 2, max_restarts=0) == 0
    assert (program.parent / "threads").read_text() == "4"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
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
        "if os.environ['RANK'] == '1' and os.environ['TORCHELASTIC_RESTART_COUNT'] == '0':\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "time.sleep(0.5)\n"
    )
    with pytest.raises(StoppedResumable, match="process 1 of 2 was ended by SIGKILL"):
        launch([], 2, max_restarts=0)
    assert launch([], 2, max_restarts=1) == 0


def test_processes_that_are_started_again_find_each_other_and_not_those_before_them(
    program: Path, forked_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second asks for the first one's address long before the new first has told it."""
    monkeypatch.setattr(sys, "executable", str(forked_python))  # it need not import torch
    program.write_text(
        "import os, signal, time\n"
        "from llmkit.workflows.run.ranks import Division, joined_ranks\n"
        "signal.alarm(100)\n"
        "again, rank = os.environ['TORCHELASTIC_RESTART_COUNT'] == '1', os.environ['RANK']\n"
        "if again and rank == '0':\n"
        "    time.sleep(2)\n"
        "with joined_ranks(Division().degrees(), 'cpu'):\n"
        "    if not again:\n"
        "        if rank == '1':\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        time.sleep(60)\n"
    )
    assert launch([], 2, max_restarts=1) == 0
