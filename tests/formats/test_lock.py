"""A lock holds what is at the path now, goes with its process, and is nobody else's meanwhile."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.formats.lock import is_at, lock_folder, open_locked

BeforeLock = Callable[[Callable[[], object]], None]


def test_a_file_is_made_and_what_is_in_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"one ", b"two"):
        stream = open_locked(path)
        assert stream is not None
        with stream:
            stream.write(content)
    assert path.read_bytes() == b"one two"
    with pytest.raises(FileNotFoundError):
        open_locked(tmp_path / "absent" / "file")


def test_one_has_it_alone_or_several_share_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    alone = open_locked(path)
    assert alone is not None
    with alone:
        assert open_locked(path) is None and open_locked(path, shared=True) is None
    one, other = open_locked(path, shared=True), open_locked(path, shared=True)
    assert one is not None and other is not None
    with one, other:
        assert open_locked(path) is None


def test_it_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from llmkit.formats.lock import open_locked
held = open_locked(Path({str(tmp_path / "file")!r}))
print(held is not None, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"True\n"
        assert open_locked(tmp_path / "file") is None
        os.kill(other.pid, signal.SIGKILL)
    stream = open_locked(tmp_path / "file")
    assert stream is not None
    stream.close()


@pytest.mark.parametrize("how", ["removed", "renamed", "replaced"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_file_that_has_left_its_path_when_it_is_locked_is_not_what_is_locked(
    tmp_path: Path, before_lock: BeforeLock, how: str, shared: bool
) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_text("old")
    other.write_text("new")

    def leave() -> None:
        if how == "removed":
            path.unlink()
        else:
            path.rename(tmp_path / "elsewhere")
        if how == "replaced":
            other.rename(path)

    before_lock(leave)
    stream = open_locked(path, shared=shared)
    assert stream is not None
    with stream:
        assert os.path.samestat(os.fstat(stream.fileno()), path.stat())
        assert path.read_text() == ("new" if how == "replaced" else "")
        assert open_locked(path) is None


def test_a_folder_is_locked_where_it_is_though_its_holder_renames_or_removes_it(
    tmp_path: Path, before_lock: BeforeLock
) -> None:
    folder, done = tmp_path / "deep" / "folder", tmp_path / "done"
    first = lock_folder(folder)
    assert first is not None and lock_folder(folder) is None

    def finish() -> None:
        folder.rename(done)
        first.close()

    before_lock(finish)
    second = lock_folder(folder)
    assert second is not None
    with second:
        assert folder.is_dir() and lock_folder(folder) is None
        in_done = lock_folder(done)
        assert in_done is not None  # what was renamed is another folder
        in_done.close()


def test_a_file_is_at_its_path_until_it_is_removed_renamed_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    with path.open("ab") as file:
        assert is_at(path, file)
        path.rename(tmp_path / "other")
        assert not is_at(path, file) and is_at(tmp_path / "other", file)
        path.touch()
        assert not is_at(path, file)
        path.unlink()
        path.parent.rmdir()
        assert not is_at(path, file)
        path.parent.touch()
        assert not is_at(path, file)
