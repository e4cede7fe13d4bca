"""Checkpoint folders: whole or absent, the newest whole one found, old ones removed."""

import os
from pathlib import Path

import pytest

from llmkit.errors import DataError
from llmkit.formats.checkpoint import (
    CheckpointState,
    checkpoint_path,
    list_checkpoints,
    prune,
    publish,
    read_state,
    write_checkpoint,
    write_state,
)

STATE = CheckpointState(
    recipe={"lr": 0.1}, trainer={"step": 3}, random={"torch": b"\x00\xff"}, threads=2, versions={"torch": "2"}
)


def fill(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")
    write_state(folder, STATE)


def test_a_checkpoint_is_named_for_its_step_and_read_back_as_written(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, 100, fill)
    assert folder == tmp_path / "checkpoints" / "step-00000100"
    assert read_state(folder) == STATE
    assert list_checkpoints(tmp_path) == ([folder], [])


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        fill(folder)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_checkpoint(tmp_path, 5, fail)
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: (folder / "COMPLETE").unlink(), "no COMPLETE marker"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"wei"), "3 bytes long, not 7"),
    ],
)
def test_an_incomplete_checkpoint_is_passed_over_and_named(
    tmp_path: Path, damage: object, problem: str
) -> None:
    older, newer = write_checkpoint(tmp_path, 5, fill), write_checkpoint(tmp_path, 10, fill)
    damage(newer)  # type: ignore[operator]
    complete, problems = list_checkpoints(tmp_path)
    assert complete == [older]
    assert len(problems) == 1
    assert problem in problems[0]
    assert "step-00000010" in problems[0]


def test_pruning_keeps_the_last_ones_and_removes_the_incomplete(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        write_checkpoint(tmp_path, step, fill)
    (checkpoint_path(tmp_path, 20) / "COMPLETE").unlink()
    prune(tmp_path, keep=2)
    assert [folder.name for folder in list_checkpoints(tmp_path)[0]] == ["step-00000010", "step-00000015"]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_published_files_are_links_that_a_later_publication_replaces(tmp_path: Path) -> None:
    first = write_checkpoint(tmp_path, 5, fill)
    publish(first, tmp_path, ["model.safetensors"])
    assert (tmp_path / "model.safetensors").samefile(first / "model.safetensors")
    publish(first, tmp_path, ["model.safetensors"])  # a second time changes nothing and leaves no litter
    second = write_checkpoint(tmp_path, 10, lambda folder: (folder / "model.safetensors").write_bytes(b"new"))
    publish(second, tmp_path, ["model.safetensors"])
    assert (tmp_path / "model.safetensors").read_bytes() == b"new"
    assert (first / "model.safetensors").read_bytes() == b"weights"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["checkpoints", "model.safetensors"]


def test_publishing_copies_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", refuse)
    publish(write_checkpoint(tmp_path, 5, fill), tmp_path, ["model.safetensors"])
    assert (tmp_path / "model.safetensors").read_bytes() == b"weights"


def test_a_damaged_state_is_bad_data(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, 5, fill)
    (folder / "state.json").write_text("{")
    with pytest.raises(DataError, match="not the state of a checkpoint"):
        read_state(folder)
