"""Runs that a signal ends outside of their training."""

import signal
from pathlib import Path

import pytest

from llmkit.errors import DataError, StoppedResumable
from llmkit.formats.checkpoint import write_checkpoint
from llmkit.signals import has_come
from llmkit.workflows.run.early_stop import resumable
from llmkit.workflows.run.ranks import STATUS


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with a checkpoint of step 1,200, and a later one that was cut short."""
    write_checkpoint(tmp_path, 1200, lambda folder: None)
    (tmp_path / "checkpoints" / "step-00001300").mkdir()
    return tmp_path


def test_sigterm_before_training_is_a_stop_to_go_on_from_where_there_is_a_checkpoint(run: Path) -> None:
    with pytest.raises(StoppedResumable, match=r"stopped \(SIGTERM\); step 1,200 is saved$"), resumable(run):
        raise SystemExit(143)
    with pytest.raises(StoppedResumable, match="SIGHUP"), resumable(run):
        raise SystemExit(129)


def test_ctrl_c_says_that_the_run_can_be_resumed(run: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as raised, resumable(run):
        raise KeyboardInterrupt
    assert str(raised.value) == "with step 1,200 saved: the same line goes on"
    with pytest.raises(KeyboardInterrupt) as raised, resumable(run):
        raise KeyboardInterrupt("at step 3")  # training says it itself
    assert str(raised.value) == "at step 3"


@pytest.mark.parametrize("folder", ["nowhere", None])
def test_with_nothing_to_resume_signals_end_it_as_elsewhere(tmp_path: Path, folder: str | None) -> None:
    out = None if folder is None else tmp_path / folder
    with pytest.raises(SystemExit, match="143"), resumable(out):
        raise SystemExit(143)
    with pytest.raises(KeyboardInterrupt) as raised, resumable(out):
        raise KeyboardInterrupt
    assert str(raised.value) == ""


def test_what_no_signal_ended_is_no_stop(run: Path) -> None:
    for error in (SystemExit(2), SystemExit("a word"), DataError("broken", hint="mend it")):
        with pytest.raises(type(error)) as raised, resumable(run):
            raise error
        assert raised.value is error


def test_of_a_process_that_was_launched_the_launcher_says_it(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATUS, "status")
    with pytest.raises(SystemExit, match="143"), resumable(run):
        raise SystemExit(143)


def test_a_ctrl_c_that_is_lost_is_kept_for_training(run: Path) -> None:
    with resumable(run):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert has_come(signal.getsignal(signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
