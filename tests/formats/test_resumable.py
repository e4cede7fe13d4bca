"""A folder made in parts: its parts are found again by the same job, and by no other."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.formats import atomic
from llmkit.formats import resumable as module
from llmkit.formats.resumable import forget_partial, kept_parts, partial_path, resumable_folder


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


@pytest.mark.parametrize("step", ["sync_file", "sync_folder", "replace_folder"])
def test_a_folder_is_its_makers_until_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    user = module if step == "replace_folder" else atomic  # whose sync_tree calls the others
    out, plain, came = tmp_path / "out", getattr(user, step), []
    out.mkdir()
    (out / "old").touch()

    def another_comes(*paths: Path) -> None:
        if paths != (tmp_path,):  # which is forced to the disk behind the renaming
            came.append(step)
            with pytest.raises(UsageError, match="another process is making it"), kept_parts(out, "k"):
                pass
        plain(*paths)

    monkeypatch.setattr(user, step, another_comes)
    with resumable_folder(out, "k") as folder:
        (folder / "a").write_text("1")
    assert came and [path.name for path in out.iterdir()] == ["a"]


def test_who_comes_when_a_folder_gets_its_name_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before_lock: Callable[[Callable[[], object]], None]
) -> None:
    out, first, second = tmp_path / "out", ExitStack(), ExitStack()
    (first.enter_context(resumable_folder(out, "k")) / "a").touch()
    before_lock(first.close)  # the second has opened the lock of the first by then
    folder = second.enter_context(resumable_folder(out, "k"))
    assert folder.is_dir() and not (folder / "a").exists()
    assert [path.name for path in out.iterdir()] == ["a"]
    with pytest.raises(UsageError), kept_parts(out, "k"):
        pass
    (folder / "b").touch()
    second.close()
    assert [path.name for path in out.iterdir()] == ["b"]


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


def test_parts_that_a_process_is_at_work_on_are_not_forgotten(tmp_path: Path) -> None:
    with kept_parts(tmp_path / "out", "k") as folder:
        (folder / "a").touch()
        forget_partial(tmp_path / "out")
        assert (folder / "a").exists()


def test_nobody_goes_on_with_parts_that_are_being_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plain, came = tmp_path / "out", shutil.rmtree, []
    with kept_parts(out, "k") as folder:
        (folder / "sub").mkdir()

    def another_comes(*args: Any, **named: Any) -> None:
        came.append(args)
        with pytest.raises(UsageError, match="another process"), kept_parts(out, "k"):
            pass
        plain(*args, **named)

    monkeypatch.setattr(shutil, "rmtree", another_comes)
    forget_partial(out)
    forget_partial(out)  # nothing to forget is nothing to do
    assert len(came) == 1 and list(tmp_path.iterdir()) == []
