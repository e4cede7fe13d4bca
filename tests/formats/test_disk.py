"""Room on the disk that a path is on, or will be."""

import os
from pathlib import Path

from llmkit.formats.disk import free_bytes


def test_a_path_that_is_not_there_yet_has_the_room_of_the_folder_it_will_be_in(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    found = free_bytes(tmp_path / "a" / "b" / "out")
    assert abs(found - disk.f_bavail * disk.f_frsize) < 1 << 30  # others write too
