"""Checkpoints of a training run: safetensors and JSON, whole or absent.

    RUN/checkpoints/step-00000100/
        config.json, model.safetensors, …   a model folder like any other
        optimizer.safetensors               the optimiser's state
        state.json                          step, data cursor, recipe, …
        COMPLETE                            written last: each file and its length

A checkpoint is written under a hidden name, synced and renamed. The run folder has hard links to the newest
model files, so it is a model folder too, and each file in it is always one that was whole.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import DataError
from llmkit.formats.atomic import atomic_folder, sync_folder
from llmkit.formats.json_text import json_text

CHECKPOINTS = "checkpoints"
COMPLETE = "COMPLETE"
STATE = "state.json"
OPTIMIZER = "optimizer.safetensors"


class CheckpointState(msgspec.Struct, kw_only=True):
    """state.json: everything that goes on, but for the tensors."""

    schema: str = "llmkit.checkpoint/1"
    recipe: dict[str, Any]
    trainer: dict[str, Any]
    random: dict[str, bytes]
    """States of the random generators."""
    threads: int
    """CPU threads of the run: another number may sum in another order."""
    versions: dict[str, str | None]


def checkpoint_path(run: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return run / CHECKPOINTS / f"step-{step:08d}"


def list_checkpoints(run: Path) -> tuple[list[Path], list[str]]:
    """The complete checkpoints of a run, oldest first, and what is wrong with each of the others."""
    complete, problems = [], []
    for folder in sorted((run / CHECKPOINTS).glob("step-*")):
        problem = _problem(folder)
        if problem is None:
            complete.append(folder)
        else:
            problems.append(f"{folder}: {problem}")
    return complete, problems


def write_checkpoint(run: Path, step: int, fill: Callable[[Path], None]) -> Path:
    """Make the checkpoint of a step: `fill` puts its files into an empty folder."""
    target = checkpoint_path(run, step)
    with atomic_folder(target) as folder:
        fill(folder)
        sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
        marker = folder / COMPLETE
        marker.write_bytes(json_text(sizes))
        for file in folder.iterdir():
            if file.stat().st_nlink == 1:  # safetensors writes for the owner's eyes only
                file.chmod(marker.stat().st_mode)
    return target


def write_state(folder: Path, state: CheckpointState) -> None:
    """Write state.json."""
    (folder / STATE).write_bytes(json_text(state))


def read_state(folder: Path) -> CheckpointState:
    """Read state.json.

    Raises:
        DataError: it is damaged, or of another version.
    """
    path = folder / STATE
    try:
        return msgspec.json.decode(path.read_bytes(), type=CheckpointState)
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(
            f"{path}: not the state of a checkpoint ({error})",
            hint=f"remove {folder} to go on from an older one",
        ) from None


def publish(checkpoint: Path, run: Path, names: Iterable[str]) -> None:
    """Put files of a checkpoint into the run folder, each by one rename; as hard links where possible."""
    for name in names:
        temporary = run / f".{name}.tmp-{os.getpid()}"
        temporary.unlink(missing_ok=True)
        try:
            os.link(checkpoint / name, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(checkpoint / name, temporary)
        temporary.replace(run / name)
        temporary.unlink(missing_ok=True)  # renaming a link onto the same file leaves it
    sync_folder(run)


def prune(run: Path, keep: int, spared: Iterable[Path] = ()) -> list[Path]:
    """Remove all but the last `keep` complete checkpoints, and what is incomplete. Returns what went.

    Args:
        run: the folder of the run.
        keep: at least 1.
        spared: checkpoints that stay beside those.
    """
    complete, _ = list_checkpoints(run)
    kept = {*complete[-keep:], *(folder for folder in spared if folder in complete)}
    removed = [folder for folder in sorted((run / CHECKPOINTS).glob("step-*")) if folder not in kept]
    for folder in removed:
        with suppress(FileNotFoundError):
            (folder / COMPLETE).unlink()  # first, so that a half-removed folder is never taken for whole
        shutil.rmtree(folder, ignore_errors=True)
    return removed


def _problem(folder: Path) -> str | None:
    """What makes a checkpoint unusable, or None."""
    marker = folder / COMPLETE
    try:
        sizes = msgspec.json.decode(marker.read_bytes(), type=dict[str, int])
    except FileNotFoundError:
        return f"no {COMPLETE} marker: its writing was cut short"
    except msgspec.MsgspecError:
        return f"{COMPLETE} is damaged"
    for name, expected in sizes.items():
        file = folder / name
        found = file.stat().st_size if file.is_file() else None
        if found != expected:
            return f"{name} is {'missing' if found is None else f'{found} bytes long, not {expected}'}"
    return None
