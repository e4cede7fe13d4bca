"""Outputs that are whole or absent: a temporary name beside the target, fsync, rename.

A crash, a full disk or Ctrl-C leaves the previous output untouched and at most a `.NAME.tmp-PID` or
`.NAME.old-PID` sibling, which the next run clears away (or moves back, where a folder was between two names).
"""

import glob
import io
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from llmkit.errors import UsageError
from llmkit.formats.folder_parts import is_read_of


def is_special(path: Path) -> bool:
    """Whether a path is a pipe or a device: it is written in place, and read once."""
    return path.exists() and not path.is_file() and not path.is_dir()


def refuse_stdout(path: Path) -> None:
    """Refuse `-` for what is written under a name: stdout carries the report.

    Raises:
        UsageError: it is `-`.
    """
    if str(path) == "-":
        raise UsageError("-: stdout has the report, and this needs a name", hint="name a file or folder")


def refuse_existing(path: Path, *, force: bool, inputs: Iterable[Path] = ()) -> None:
    """Check an output path before any work.

    Raises:
        UsageError: the output exists and `force` is off, or is `-`; always where it is or holds an input, or
            is there already in a folder that is one, and belongs to what is read of it.
    """
    refuse_stdout(path)
    resolved, is_there = path.resolve(), path.exists()
    places = {resolved, path.parent.resolve() / path.name}  # a model's files may be links
    for source in inputs:
        if _is_same(source, path):
            raise UsageError(f"{path}: the output is also an input", hint="choose another name")
        if resolved in source.resolve().parents and str(source) != "-":
            raise UsageError(
                f"{path}: the output folder holds the input {source}", hint="choose another name"
            )
        if is_there and any(_is_read(source, place) for place in places):
            raise UsageError(f"{path}: is there already, in the input {source}", hint="choose another name")
    if is_there and not force and not is_special(path):
        raise UsageError(f"{path}: already exists", hint="choose another name, or replace it with --force")


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing; it appears, complete and synced, only when the block ends without an error."""
    if is_special(path):  # /dev/stdout, a named pipe: nothing to rename
        with io.BufferedWriter(_NamedFile(path, path)) as stream:
            yield stream
        return
    temporary = _temporary_name(path)
    try:
        with io.BufferedWriter(_NamedFile(temporary, path)) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class _NamedFile(io.FileIO):
    """A file that says which it is where it cannot be written: the system's own error names none."""

    def __init__(self, path: Path, target: Path) -> None:
        super().__init__(path, "wb")
        self._target = str(target)

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            error.filename = self._target
            raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes `path` when the block ends without an error.

    An existing folder at `path` is replaced as a whole, and only then.
    """
    temporary = _temporary_name(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                sync_file(file)
        sync_folder(temporary)
        replace_folder(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_atomic(path: Path, content: bytes) -> None:
    """Write one small file whole or not at all."""
    with atomic_file(path) as stream:
        stream.write(content)


def replace_folder(source: Path, target: Path) -> None:
    """Rename folder `source` to `target`; a previous `target` is moved aside first and removed last."""
    if target.exists():
        aside = _temporary_name(target, mark="old")
        target.rename(aside)
        try:
            source.rename(target)
        except BaseException:
            aside.rename(target)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    else:
        source.rename(target)
    sync_folder(target.parent)


def sync_file(path: Path) -> None:
    """Force a file's bytes to the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Force a folder's names to the disk, where the file system allows it."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _temporary_name(path: Path, mark: str = "tmp") -> Path:
    """A sibling's name for this process, after clearing what dead processes left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*-*"):
        kind, _, process = leftover.name.removeprefix(f".{path.name}.").partition("-")
        if kind not in ("tmp", "old") or not process.isdigit():
            continue
        if process == str(os.getpid()):  # in a container, a dead process had the same number
            if kind != mark or not leftover.is_dir():
                continue
        elif _is_alive(int(process)):
            continue
        if kind == "old" and not path.exists():
            leftover.rename(path)  # the process died between the two renames of `replace_folder`
        elif leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
    return path.parent / f".{path.name}.{mark}-{os.getpid()}"


def _is_same(source: Path, path: Path) -> bool:
    """Whether an input, stdin included, is the file at `path`."""
    if str(source) != "-":
        return source.resolve() == path.resolve() or (
            source.is_file() and path.exists() and source.samefile(path)
        )
    try:
        return path.is_file() and os.path.samestat(os.fstat(0), path.stat())
    except OSError:  # no stdin
        return False


def _is_read(source: Path, place: Path) -> bool:
    """Whether `place` is in the folder of an input, and read as a part of it."""
    folder = source.resolve()
    return folder in place.parents and folder.is_dir() and is_read_of(folder, place.relative_to(folder))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
