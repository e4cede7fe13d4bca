"""Checkpoint folders: whole or absent, the newest whole one found, old ones removed."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from llmkit.errors import DataError
from llmkit.formats.checkpoint import (
    CheckpointState,
    checkpoint_folders,
    checkpoint_path,
    clear_leftovers,
    damage,
    list_checkpoints,
    prune,
    publish,
    read_state,
    retract,
    step_of,
    write_checkpoint,
    write_state,
)

STATE = CheckpointState(recipe={"lr": 0.1}, trainer={"step": 3}, threads=2, versions={"torch": "2"})


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
    ((folder, told),) = problems
    assert folder == newer and problem in told


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


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "COMPLETE"])
@pytest.mark.parametrize("how", ["gone", "emptied", "halved", "one bit"])
def test_whatever_happens_to_a_file_of_the_newest_checkpoint_the_one_before_is_found(
    tmp_path: Path, name: str, how: str
) -> None:
    older, newer = write_checkpoint(tmp_path, 5, fill), write_checkpoint(tmp_path, 10, fill)
    file, content = newer / name, (newer / name).read_bytes()
    if how == "gone":
        file.unlink()
    elif how == "one bit":
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        os.truncate(file, 0 if how == "emptied" else len(content) // 2)
    complete, _ = list_checkpoints(tmp_path)
    assert [folder for folder in complete if damage(folder) is None] == [older]


def test_damage_of_the_right_length_is_named_and_an_unreadable_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path, 5, fill)
    assert damage(folder) is None
    (folder / "model.safetensors").write_bytes(b"weightz")
    assert list_checkpoints(tmp_path) == ([folder], [])
    assert damage(folder) == "model.safetensors is damaged (its SHA-256 is another)"

    def refuse(path: Path, *_: Any, **__: Any) -> BinaryIO:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert "it cannot be read" in str(damage(folder))


def test_a_marker_of_lengths_alone_is_still_read(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, 5, fill)
    marker = json.loads((folder / "COMPLETE").read_text())
    assert set(marker) == {"model.safetensors", "state.json"}
    (folder / "COMPLETE").write_text(json.dumps({name: facts["bytes"] for name, facts in marker.items()}))
    assert list_checkpoints(tmp_path) == ([folder], [])
    assert damage(folder) is None
    state = folder / "state.json"
    state.write_text("x" * state.stat().st_size)
    assert "state.json: not the state of a checkpoint" in str(damage(folder))


def test_files_in_folders_of_a_checkpoint_are_watched_too(tmp_path: Path) -> None:
    def deep(folder: Path) -> None:
        fill(folder)
        (folder / "parts").mkdir()
        (folder / "parts" / "0").write_bytes(b"part")

    folder = write_checkpoint(tmp_path, 5, deep)
    assert list_checkpoints(tmp_path) == ([folder], [])
    (folder / "parts" / "0").write_bytes(b"trap")
    assert damage(folder) == "parts/0 is damaged (its SHA-256 is another)"


def test_a_retracted_checkpoint_is_none_and_the_next_pruning_removes_it(tmp_path: Path) -> None:
    older, newer = write_checkpoint(tmp_path, 5, fill), write_checkpoint(tmp_path, 10, fill)
    retract(newer)
    retract(newer)  # a second time changes nothing
    assert list_checkpoints(tmp_path) == ([older], [])  # and nothing is wrong with it
    prune(tmp_path, keep=1)
    assert older.exists() and not newer.exists()


def test_checkpoints_at_a_multiple_of_every_stay_for_good(tmp_path: Path) -> None:
    folders = [write_checkpoint(tmp_path, step, fill) for step in (10, 15, 20, 25, 30, 35)]
    assert step_of(folders[1]) == 15
    prune(tmp_path, keep=1, every=10)
    assert [step_of(folder) for folder in list_checkpoints(tmp_path)[0]] == [10, 20, 30, 35]


POWER_LOSS = """
import os, sys
from itertools import count
from pathlib import Path
from tests.formats.test_checkpoint import fill
from llmkit.formats.checkpoint import *

def save(run, step):
    publish(write_checkpoint(run, step, fill), run, ["model.safetensors"])
    prune(run, 1)

for stage in count(1):
    run = Path(sys.argv[1]) / str(stage)
    run.mkdir()
    save(run, 5)
    child = os.fork()
    if child == 0:
        seen = 0
        def lose_power(event, arguments):  # as soon as anything is about to happen to a file of the run
            global seen
            if event.split(".")[0] in ("open", "os", "shutil") and str(run) in str(arguments):
                seen += 1
                if seen == stage:
                    os._exit(9)
        sys.addaudithook(lose_power)
        save(run, 10)
        os._exit(0)
    died = os.waitpid(child, 0)[1] != 0
    sound = [step_of(one) for one in list_checkpoints(run)[0] if damage(one) is None]
    assert sound in ([5], [5, 10], [10]), (stage, sound)
    assert (run / "model.safetensors").read_bytes() == b"weights", stage
    clear_leftovers(run)  # as the resumed run does
    save(run, 10)
    assert [one.name for one in (run / "checkpoints").iterdir()] == ["step-00000010"], stage
    if not died:
        print(stage)
        break
"""


def test_no_loss_of_power_at_any_stage_of_a_save_loses_the_last_good_checkpoint(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", POWER_LOSS, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30  # operations on files that a save is made of


@pytest.mark.parametrize("room", [0, 3, 7, 60, 300])
def test_a_full_disk_leaves_the_last_good_checkpoint_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    older = write_checkpoint(tmp_path, 5, fill)
    left, write = [room], Path.write_bytes

    def write_bytes(path: Path, content: bytes) -> int:
        fits = content[: left[0]]
        left[0] -= len(fits)
        write(path, fits)
        if len(fits) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return len(content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(tmp_path, 10, fill)
    assert [*(tmp_path / "checkpoints").iterdir()] == [older]
    assert damage(older) is None


def test_what_a_killed_process_left_goes_and_checkpoints_stay(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, 5, fill)
    for name in (".step-00000010.tmp-1", ".step-00000005.old-1"):
        shutil.copytree(folder, folder.parent / name)
    clear_leftovers(tmp_path)
    assert [*folder.parent.iterdir()] == [folder]
    clear_leftovers(tmp_path / "absent")


def test_a_copy_beside_checkpoints_is_none_and_is_left_alone(tmp_path: Path) -> None:
    whole = [write_checkpoint(tmp_path, step, fill) for step in (5, 10, 100_000_000)]
    names = ("step-00000005.good", "step-00000010.bak", "step-best", "step-10", "step-000000010")
    hidden = (".step-00000005.good", ".step-best.tmp-1", ".step-00000005.tmp-1.good")
    copies = [shutil.copytree(whole[0], whole[0].parent / name) for name in (*names, *hidden)]
    assert checkpoint_folders(tmp_path) == whole
    assert list_checkpoints(tmp_path) == (whole, [])
    (copies[0] / "COMPLETE").unlink()
    assert list_checkpoints(tmp_path) == (whole, [])
    clear_leftovers(tmp_path)
    prune(tmp_path, keep=1, every=3)
    assert {*(tmp_path / "checkpoints").iterdir()} == {whole[2], *copies}


def test_checkpoints_come_in_the_order_of_their_steps_however_long_their_names(tmp_path: Path) -> None:
    for step in (100_000_000, 20_000_000):
        write_checkpoint(tmp_path, step, fill)
    assert [step_of(one) for one in list_checkpoints(tmp_path)[0]] == [20_000_000, 100_000_000]
