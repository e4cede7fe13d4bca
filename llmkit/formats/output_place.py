"""What stands where an output is to be, and what is read there: questions that come before any work."""

import os
from pathlib import Path

from llmkit.errors import UsageError
from llmkit.formats.folder_parts import is_read_of


def linked(path: Path) -> Path:
    """Where a link leads, be anything there or not; another path as it is.

    What is replaced under its name by a rename goes there: the link stays, and so does what it stands for.

    Raises:
        UsageError: it leads to itself.
    """
    try:
        return path.resolve() if path.is_symlink() else path
    except RuntimeError:
        raise UsageError(f"{path}: a link that leads to itself", hint="choose another name") from None


def is_special(path: Path) -> bool:
    """Whether a path is a pipe or a device: it is written in place, and read once."""
    return path.exists() and not path.is_file() and not path.is_dir()


def refuse_special(path: Path, what: str = "a folder") -> None:
    """Refuse a pipe or a device where `what` is to be, which takes the place of what has its name.

    Raises:
        UsageError: there is one; root could rename /dev/null away.
    """
    if is_special(path):
        raise UsageError(
            f"{path}: a pipe or a device, and {what} is to be written", hint="choose another name"
        )


def is_same(source: Path, path: Path) -> bool:
    """Whether an input, stdin included, is the file at `path`."""
    if str(source) != "-":
        return source.resolve() == path.resolve() or (
            source.is_file() and path.exists() and source.samefile(path)
        )
    try:
        return path.is_file() and os.path.samestat(os.fstat(0), path.stat())
    except OSError:  # no stdin
        return False


def is_inside(source: Path, path: Path) -> bool:
    """Whether an input, or the link that it is named by, lies in the folder `path`."""
    if str(source) == "-":
        return False
    folder, named = path.resolve(), source.parent.resolve()
    return folder in source.resolve().parents or folder in (named, *named.parents)


def is_read(source: Path, place: Path) -> bool:
    """Whether `place` is in the folder of an input, and read as a part of it."""
    folder = source.resolve()
    return folder in place.parents and folder.is_dir() and is_read_of(folder, place.relative_to(folder))


def is_fixed(folder: Path) -> bool:
    """Whether a folder cannot be replaced: it is or holds the one we are in, or a disk is mounted there."""
    place = folder.resolve()
    try:
        here = Path.cwd()
    except FileNotFoundError:  # it was removed
        return place.is_mount()
    return place in (here, *here.parents) or place.is_mount()
