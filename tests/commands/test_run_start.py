"""The first moments of training commands."""

import inspect
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.commands.run_start import stoppable
from llmkit.errors import StoppedResumable
from llmkit.formats.checkpoint import write_checkpoint
from llmkit.workflows.run.ranks import RESTARTS


@stoppable
def command(out: Path, resume: str = "auto", dry_run: bool = False, find_lr: bool = False) -> None:
    """Train."""
    raise SystemExit(143)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with a checkpoint."""
    write_checkpoint(tmp_path / "run", 50, lambda folder: None)
    return tmp_path / "run"


@pytest.mark.parametrize("resume", ["auto", "must"])
def test_a_stop_of_what_would_have_gone_on_is_75(run: Path, resume: str) -> None:
    with pytest.raises(StoppedResumable, match="step 50 is saved"):
        command(out=run, resume=resume, dry_run=False, find_lr=False)


@pytest.mark.parametrize(
    "given", [{"resume": "never"}, {"resume": "auto", "dry_run": True}, {"resume": "auto", "find_lr": True}]
)
def test_what_goes_on_with_no_run_has_nothing_to_resume(run: Path, given: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="143"):
        command(out=run, **given)


def test_processes_that_were_started_anew_go_on_whatever_was_asked_for(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RESTARTS, "1")
    with pytest.raises(StoppedResumable) as stopped:
        command(out=run, resume="never")
    assert stopped.value.hint == "run the same line without --resume never to go on"


def test_its_flags_are_those_of_the_command() -> None:
    assert list(inspect.signature(command).parameters) == ["out", "resume", "dry_run", "find_lr"]


@pytest.mark.parametrize("line", ["pretrain --data x -t tok", "finetune base --data x.jsonl"])
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGTERM, 75, "llmkit: error: run: stopped (SIGTERM); step 50 is saved\n  hint: run the same"),
        (signal.SIGINT, 130, "llmkit: interrupted with step 50 saved: the same line goes on\n"),
    ],
)
def test_a_signal_while_torch_is_imported_leaves_a_run_to_go_on_with(
    signalled_at: Callable[[str, int], dict[str, str]],
    run: Path, line: str, number: signal.Signals, status: int, said: str,
) -> None:  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "llmkit", *line.split(), "-o", "run"],
        cwd=run.parent, env=signalled_at("torch", number), capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(said)
