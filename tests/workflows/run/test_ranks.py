"""The processes of a run as the environment tells of them."""

from pathlib import Path

import pytest

from llmkit.errors import ConfigError, DataError, StoppedResumable
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.ranks import ALONE
from llmkit.workflows.run import ranks as run_ranks
from llmkit.workflows.run.ranks import (
    RESTARTS,
    STATUS,
    Division,
    LostProcess,
    first_speaks,
    is_first_process,
    joined_ranks,
    own_device,
    processes_here,
    was_restarted,
    world_size,
)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the first process to speak; none was started by torchrun."""
    monkeypatch.setattr(run_ranks, "FIRST_SPEAKS_SECONDS", 0.0)
    monkeypatch.setattr(run_ranks, "STOPPED_SECONDS", 0.0)
    for name in (
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "TORCHELASTIC_RESTART_COUNT",
        RESTARTS,
        STATUS,
    ):
        monkeypatch.delenv(name, raising=False)


def test_without_torchrun_there_is_one_process() -> None:
    assert (world_size(), is_first_process(), was_restarted()) == (1, True, False)
    with joined_ranks(Division().degrees(), "cpu") as ranks:
        assert ranks is ALONE
    assert own_device("cpu") == "cpu"


def test_torchruns_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "2"), ("WORLD_SIZE", "4"), ("TORCHELASTIC_RESTART_COUNT", "1")):
        monkeypatch.setenv(name, value)
    assert (world_size(), is_first_process(), was_restarted()) == (4, False, True)
    assert Division(fsdp=2).degrees() == Degrees(dp=2, fsdp=2)
    assert Division(fsdp=2).degrees(2) == Degrees(fsdp=2)
    assert Division(cp=2).degrees() == Degrees(dp=2, cp=2)
    with pytest.raises(ConfigError, match="--tp 3"):
        Division(tp=3).degrees()
    assert processes_here() == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # on two machines
    assert processes_here() == 2


def test_our_own_launchers_restarts_are_restarts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    monkeypatch.setenv(RESTARTS, "0")
    assert not was_restarted()
    monkeypatch.setenv(RESTARTS, "1")
    assert was_restarted()


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device("auto") == own_device("cuda") == "cuda:1"
    assert own_device("cpu") == "cpu"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match="process 2 of this machine has no GPU"):
        own_device("auto")


def test_the_first_process_leaves_its_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(STATUS, str(tmp_path / "status"))
    with pytest.raises(DataError), first_speaks():
        raise DataError("broken", hint="mend it")
    assert (tmp_path / "status").read_text() == "3"
    with pytest.raises(KeyboardInterrupt), first_speaks():
        raise KeyboardInterrupt
    assert (tmp_path / "status").read_text() == "130"


def test_another_process_that_was_asked_to_stop_leaves_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit, match="75"), first_speaks():
        raise StoppedResumable("stopped", hint="go on")
    with pytest.raises(DataError), first_speaks():  # unless the first did not speak: then it does
        raise DataError("broken", hint="mend it")


def test_a_lost_process_is_told_by_who_started_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(STATUS, str(tmp_path / "status"))
    with pytest.raises(LostProcess), first_speaks():
        raise LostProcess("lost", hint="go on")
    assert not (tmp_path / "status").exists()
