"""A disk without room: named with what could not be written, and what is saved."""

import errno
import os
from pathlib import Path

import pytest

from llmkit.formats.checkpoint import write_checkpoint
from llmkit.workflows.run.disk_full import DiskFullError, full_disk_told


@pytest.mark.parametrize(
    ("number", "room"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EFBIG, "raise the limit on a file's size (ulimit -f)"),
    ],
)
def test_a_full_disk_says_what_was_written_what_makes_room_and_which_step_is_saved(
    tmp_path: Path, number: int, room: str
) -> None:
    def write(named: str | None, what: Path | None = None) -> tuple[str, str]:
        with pytest.raises(DiskFullError) as caught, full_disk_told(tmp_path, what):
            raise OSError(number, os.strerror(number), named)
        assert caught.value.status == 5
        return caught.value.problem, caught.value.hint

    said = os.strerror(number).lower()
    again = f"{room}; nothing is saved yet, and the same line starts again"
    assert write("a/file") == (f"a/file: {said}", again)
    assert write(None) == (f"{tmp_path}: {said}", again)
    write_checkpoint(tmp_path, 1020, lambda folder: None)
    again = f"{room}; step 1,020 is saved, and the same line goes on"
    assert write("a/file", tmp_path / "b") == (f"{tmp_path / 'b'}: {said}", again)


def test_other_errors_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), full_disk_told(tmp_path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "a/file")
