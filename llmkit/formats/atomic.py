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

from llmkit.errors import DISK_FULL, MissingError, UsageError
from llmkit.formats.folder_parts import is_ours
from llmkit.formats.output_place import (
    is_fixed,
    is_inside,
    is_read,
    is_same,
    is_special,
    linked,
    refuse_special,
)
from llmkit.machine import is_alive


def refuse_stdout(path: Path) -> None:
    """Refuse `-` for what is written under a name: stdout carries the report.

    Raises:
        UsageError: it is `-`.
    """
    if str(path) == "-":
        raise UsageError("-: stdout has the report, and this needs a name", hint="name a file or folder")


def refuse_existing(path: Path, *, force: bool, inputs: Iterable[Path] = (), is_file: bool = False) -> None:
    """Check an output path before any work.

    Args:
        path: of a file or a folder.
        force: what is there may be replaced.
        inputs: what is read.
        is_file: it is to be a file, which takes no folder's place.

    Raises:
        UsageError: the output exists and `force` is off, or is `-`; always where it is or holds an input, or
            is there already in a folder that is one, and belongs to what is read of it;
            or it cannot be written or replaced, or a folder stands where a file is to be, or a folder that
            neither llmkit nor Hugging Face has made.
    """
    refuse_stdout(path)
    resolved, is_there = linked(path).resolve(), path.exists()
    places = {resolved, path.parent.resolve() / path.name}  # a model's files may be links
    for source in inputs:
        if is_same(source, path):
            raise UsageError(f"{path}: the output is also an input", hint="choose another name")
        if is_inside(source, path):
            raise UsageError(
                f"{path}: the output folder holds the input {source}", hint="choose another name"
            )
        if is_there and any(is_read(source, place) for place in places):
            raise UsageError(f"{path}: is there already, in the input {source}", hint="choose another name")
    if is_file and path.is_dir():
        raise UsageError(f"{path}: is a folder, and a file is to be written", hint="choose another name")
    if path.is_dir():
        _refuse_folder(path, force=force)
    if is_there and not force and not is_special(path):
        raise UsageError(f"{path}: already exists", hint="choose another name, or replace it with --force")
    refuse_unwritable(path)


def _refuse_folder(path: Path, *, force: bool) -> None:
    """Refuse a folder that cannot be replaced, or is not ours to remove: nothing brings it back."""
    if is_fixed(path):
        raise UsageError(
            f"{path}: cannot be replaced: you are in it, or a disk is mounted there", hint="name one in it"
        )
    if not is_ours(path):
        what = "holds nothing that llmkit or Hugging Face writes, and is kept" if force else "already exists"
        raise UsageError(f"{path}: {what}", hint="choose another name, or remove it yourself")


def refuse_unwritable(path: Path, *, in_place: bool = False) -> None:
    """Check, before any work, that an output can be made: folders that are missing above it are made with it.

    Args:
        path: of a file or a folder.
        in_place: it is added to where it is there, and its folder has to be: a log, a database, a socket.

    Raises:
        UsageError: something above it is no folder, or it or the folder may not be written.
        MissingError: there is no folder for what is written in place.
    """
    if is_special(path) or (in_place and path.exists()):
        if path.is_dir() or not os.access(path, os.W_OK):
            what = "is a folder" if path.is_dir() else "may not be written"
            raise UsageError(f"{path}: {what}", hint="name another place")
        return
    folder = linked(path).absolute().parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise UsageError(f"{path}: {folder} is no folder", hint="name another place")
    if in_place and not path.parent.is_dir():
        raise MissingError(f"{path}: no such folder: {path.parent}", hint=f"mkdir -p {path.parent}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: the folder {folder} may not be written", hint="name another place")


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing; it appears, complete and synced, only when the block ends without an error."""
    if is_special(path):  # /dev/stdout, a named pipe: nothing to rename
        with io.BufferedWriter(_NamedFile(path, path)) as stream:
            yield stream
        return
    place = linked(path)
    temporary = _temporary_name(place)
    try:
        with _as_named(temporary, path):
            with io.BufferedWriter(_NamedFile(temporary, path)) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(place)
            sync_folder(place.parent)
    except BaseException:
        with suppress(OSError):  # the folder may be the reason
            temporary.unlink()
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

    Raises:
        UsageError: a pipe or a device is there.
    """
    refuse_special(path)
    temporary = _temporary_name(linked(path))
    try:
        with _as_named(temporary, path):
            temporary.mkdir(parents=True)
            yield temporary
            sync_tree(temporary)
            replace_folder(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def atomic_files(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder whose files take their places beside `path` when the block ends well.

    They are read by way of the first, in the order of their names: a previous one of its name goes before
    all else, and it comes last, so that it is never there without the others. Where a place cannot be
    taken, none is.
    """
    temporary = _temporary_name(path)
    taken: list[Path] = []
    try:
        with _as_named(temporary, path.parent):
            temporary.mkdir(parents=True)
            yield temporary
            files = sorted(temporary.iterdir())
            for file in files:
                sync_file(file)
            path.with_name(files[0].name).unlink(missing_ok=True)
            for file in reversed(files):
                place = path.with_name(file.name)
                file.replace(place)
                taken.append(place)
            sync_folder(path.parent)
    except BaseException:
        for place in taken:
            place.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _as_named(temporary: Path, path: Path) -> Iterator[None]:
    """Errors of the system name what the user named, not what stands for it until it is whole."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in DISK_FULL:  # of a write the system names no file
            error.filename = str(path)
        elif isinstance(error.filename, str | os.PathLike):
            name = Path(error.filename)
            if name == temporary or temporary in name.parents:
                error.filename = str(path / name.relative_to(temporary))
                error.filename2 = None
        raise


def write_atomic(path: Path, content: bytes) -> None:
    """Write one small file whole or not at all."""
    with atomic_file(path) as stream:
        stream.write(content)


def replace_folder(source: Path, target: Path) -> None:
    """Rename folder `source` to `target`; a previous `target` is moved aside first and removed last.

    Where `target` is a link, it stays, and this is done where it leads.

    Raises:
        UsageError: a pipe or a device is there.
    """
    refuse_special(target)
    target = linked(target)
    if target.exists():
        aside = _temporary_name(target, mark="old")
        target.rename(aside)
        try:
            source.rename(target)
        except BaseException:
            aside.rename(target)
            raise
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:  # a file was called so
            aside.unlink(missing_ok=True)
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


def sync_tree(folder: Path) -> None:
    """Force a folder to the disk: the bytes of all files in it, and its names."""
    for file in folder.rglob("*"):
        if file.is_file():
            sync_file(file)
    sync_folder(folder)


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
        elif is_alive(int(process)):
            continue
        if kind == "old" and not path.exists():
            leftover.rename(path)  # the process died between the two renames of `replace_folder`
        elif leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
    return path.parent / f".{path.name}.{mark}-{os.getpid()}"
