"""A folder made in parts: its parts are found again by the same job, and by no other."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.formats.resumable import forget_partial, partial_path, resumable_folder


def test_a_finished_folder_has_nothing_but_what_was_put_in(tmp_path: Path) -> None:
    with resumable_folder(tmp_path / "out", "k") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "a"]


def test_an_interrupted_job_finds_its_parts_and_keeps_the_old_output_until_the_end(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(KeyboardInterrupt), resumable_folder(tmp_path / "out", "k") as folder:
        (folder / "a").write_text("1")
        raise KeyboardInterrupt
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["old"]
    with resumable_folder(tmp_path / "out", "k") as folder:
        assert (folder / "a").read_text() == "1"
        (folder / "b").touch()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]


def test_another_job_starts_afresh(tmp_path: Path) -> None:
    with pytest.raises(ValueError), resumable_folder(tmp_path / "out", "k") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").touch()
        (folder / "b").touch()
        raise ValueError
    with resumable_folder(tmp_path / "out", "other") as folder:
        assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []


def test_two_processes_do_not_make_one_folder(tmp_path: Path) -> None:
    with resumable_folder(tmp_path / "out", "k"):
        script = f"""
from pathlib import Path
from llmkit.formats.resumable import resumable_folder
with resumable_folder(Path({str(tmp_path / "out")!r}), "k"): pass
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert "another process is making it" in done.stderr
        with pytest.raises(UsageError), resumable_folder(tmp_path / "out", "k"):
            pass


def test_the_lock_of_a_killed_process_is_gone_with_it(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from llmkit.formats.resumable import resumable_folder
with resumable_folder(Path({str(tmp_path / "out")!r}), "k") as folder:
    (folder / "a").touch()
    print("ready", flush=True)
    time.sleep(60)
"""
    running = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert running.stdout is not None and running.stdout.readline()
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    with resumable_folder(tmp_path / "out", "k") as folder:
        assert (folder / "a").exists()


def test_parts_can_be_forgotten(tmp_path: Path) -> None:
    with pytest.raises(ValueError), resumable_folder(tmp_path / "out", "k"):
        raise ValueError
    assert partial_path(tmp_path / "out").exists()
    forget_partial(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
