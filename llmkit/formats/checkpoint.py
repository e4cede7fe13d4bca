"""Checkpoints of a training run: safetensors and JSON, whole or absent.

    RUN/checkpoints/step-00000100/
        config.json, model.safetensors, …   a model folder like any other
        optimizer.safetensors               the optimiser's state
        state.json                          step, data cursor, recipe, …
        COMPLETE                            written last: each file, its length and its SHA-256

A checkpoint is written under a hidden name, synced and renamed. The run folder has hard links to the newest
model files, so it is a model folder too, and each file in it is always one that was whole. What else lies
beside checkpoints, such as a copy (`step-00000100.good`), is somebody's own: it is neither read nor removed.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import DataError
from llmkit.formats.atomic import atomic_folder, sync_file, sync_folder
from llmkit.formats.digest import digest_file
from llmkit.formats.json_text import json_text

CHECKPOINTS = "checkpoints"
COMPLETE = "COMPLETE"
RETRACTED = "RETRACTED"
"""The marker of a checkpoint that was undone."""
STATE = "state.json"
OPTIMIZER = "optimizer.safetensors"
_NAME = re.compile(r"step-([0-9]{8}|[1-9][0-9]{8,})")
_LEFTOVER = re.compile(rf"\.{_NAME.pattern}\.(tmp|old)-[0-9]+")


class CheckpointState(msgspec.Struct, kw_only=True):
    """state.json: everything that goes on, but for the tensors."""

    schema: str = "llmkit.checkpoint/1"
    recipe: dict[str, Any]
    trainer: dict[str, Any]
    threads: int
    """CPU threads of the run: another number may sum in another order."""
    versions: dict[str, str | None]
    division: str = "one process"
    """Of the model over processes: another sums in another order."""


class FileFacts(msgspec.Struct, frozen=True):
    """What COMPLETE says of a file."""

    bytes: int
    sha256: str | None = None
    """None: the marker is of a version that kept lengths alone."""


def checkpoint_path(run: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return run / CHECKPOINTS / f"step-{step:08d}"


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint is named for."""
    return int(checkpoint.name.removeprefix("step-"))


def checkpoint_folders(run: Path) -> list[Path]:
    """Whatever has the name of a checkpoint, whole or not, in the order of steps."""
    named = [one for one in (run / CHECKPOINTS).glob("step-*") if _NAME.fullmatch(one.name)]
    return sorted(named, key=step_of)


def leftovers(run: Path) -> list[Path]:
    """What a killed process left half written, by name."""
    hidden = (run / CHECKPOINTS).glob(".step-*")
    return sorted(one for one in hidden if _LEFTOVER.fullmatch(one.name))


def list_checkpoints(run: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The complete checkpoints of a run, oldest first, and the others, each with what is wrong with it.

    Those that were retracted are neither: nothing is wrong with them, and they count no more.
    """
    complete: list[Path] = []
    problems: list[tuple[Path, str]] = []
    for folder in checkpoint_folders(run):
        if (folder / RETRACTED).exists():
            continue
        problem = _problem(folder)
        if problem is None:
            complete.append(folder)
        else:
            problems.append((folder, problem))
    return complete, problems


def write_checkpoint(run: Path, step: int, fill: Callable[[Path], None]) -> Path:
    """Make the checkpoint of a step: `fill` puts its files into an empty folder."""
    target = checkpoint_path(run, step)
    with atomic_folder(target) as folder:
        fill(folder)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        with ThreadPoolExecutor(2, thread_name_prefix="digest") as pool:
            digests = pool.map(digest_file, files)  # of what is still in memory, while the disk is at work
            for file in files:
                sync_file(file)
            facts = {
                file.relative_to(folder).as_posix(): FileFacts(file.stat().st_size, digest)
                for file, digest in zip(files, digests, strict=True)
            }
        (folder / COMPLETE).write_bytes(json_text(facts))
    return target


def damage(folder: Path) -> str | None:
    """What is wrong inside a complete checkpoint, or None: reads every byte of it.

    A marker without digests shows only what makes state.json unreadable.
    """
    try:
        for name, facts in _read_marker(folder).items():
            if facts.sha256 is not None and digest_file(folder / name) != facts.sha256:
                return f"{name} is damaged (its SHA-256 is another)"
        read_state(folder)
    except OSError as error:
        return f"it cannot be read ({error})"
    except DataError as error:
        return error.problem.removeprefix(f"{folder}/")
    return None


def retract(folder: Path) -> None:
    """Make a checkpoint count no more: nothing goes on from it, and the next save removes it."""
    with suppress(FileNotFoundError):  # retracted before
        (folder / COMPLETE).replace(folder / RETRACTED)
    sync_folder(folder)


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


def prune(run: Path, keep: int, spared: Iterable[Path] = (), *, every: int = 0) -> None:
    """Remove all but the last `keep` complete checkpoints, and what is incomplete.

    Args:
        run: the folder of the run.
        keep: at least 1.
        spared: checkpoints that stay beside those.
        every: those of steps that are a multiple of it stay too; 0: of none.
    """
    complete, _ = list_checkpoints(run)
    kept = {*complete[-keep:], *(folder for folder in spared if folder in complete)}
    kept |= {folder for folder in complete if every and step_of(folder) % every == 0}
    for folder in checkpoint_folders(run):
        if folder in kept:
            continue
        with suppress(FileNotFoundError):
            (folder / COMPLETE).unlink()  # first, so that a half-removed folder is never taken for whole
        shutil.rmtree(folder, ignore_errors=True)


def clear_leftovers(run: Path) -> None:
    """Remove what a killed process left half written; nobody else may be at work in the run."""
    for folder in leftovers(run):
        shutil.rmtree(folder, ignore_errors=True)


def _problem(folder: Path) -> str | None:
    """What makes a checkpoint unusable, or None."""
    try:
        facts = _read_marker(folder)
    except FileNotFoundError:
        return f"no {COMPLETE} marker: its writing was cut short"
    except DataError as error:
        return error.problem.removeprefix(f"{folder}/")
    except OSError as error:
        return f"{COMPLETE} cannot be read ({error})"
    for name, expected in facts.items():
        file = folder / name
        found = file.stat().st_size if file.is_file() else None
        if found != expected.bytes:
            return f"{name} is {'missing' if found is None else f'{found} bytes long, not {expected.bytes}'}"
    return None


def _read_marker(folder: Path) -> dict[str, FileFacts]:
    """What COMPLETE says.

    Raises:
        FileNotFoundError: there is none.
        DataError: it is damaged.
    """
    content = (folder / COMPLETE).read_bytes()
    try:
        found = msgspec.json.decode(content, type=dict[str, int | FileFacts])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise DataError(f"{folder}/{COMPLETE} is damaged", hint=f"remove {folder}") from None
    return {name: FileFacts(one) if isinstance(one, int) else one for name, one in found.items()}
