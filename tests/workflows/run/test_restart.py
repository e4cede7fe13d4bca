"""Processes that were started anew."""

import os
from pathlib import Path

import pytest

from llmkit.machine import started_at
from llmkit.workflows.run.ranks import RESTARTS
from llmkit.workflows.run.restart import resume_now


def _checkpoint(out: Path, *, before_launch: bool) -> None:
    folder = out / "checkpoints" / "step-00000003"
    folder.mkdir(parents=True)
    launched = started_at(os.getppid())
    assert launched is not None
    moment = launched + (-60 if before_launch else 60)
    os.utime(folder, (moment, moment))


@pytest.mark.parametrize("resume", ["auto", "never", "must"])
def test_a_first_start_is_as_it_was_asked_for(resume: str, tmp_path: Path) -> None:
    _checkpoint(tmp_path, before_launch=False)
    assert resume_now(tmp_path, resume) == resume  # type: ignore[arg-type]


def test_a_run_that_was_to_start_over_goes_on_from_its_own_checkpoints_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(RESTARTS, "1")
    assert resume_now(tmp_path, "never") == "never"
    _checkpoint(tmp_path / "old", before_launch=True)
    assert resume_now(tmp_path / "old", "never") == "never"
    _checkpoint(tmp_path / "new", before_launch=False)
    assert resume_now(tmp_path / "new", "never") == "auto"
    assert resume_now(tmp_path / "old", "must") == "auto"
