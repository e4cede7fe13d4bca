import errno
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit.errors import MissingError, UsageError
from llmkit.formats.atomic import (
    atomic_file,
    atomic_files,
    atomic_folder,
    refuse_existing,
    refuse_unwritable,
    replace_folder,
    write_atomic,
)


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with atomic_file(path) as stream:
        stream.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert [file.name for file in tmp_path.iterdir()] == ["out.txt"]


def test_bytes_are_on_the_disk_before_their_name_and_their_name_is_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[int | str] = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda file: events.append(os.fstat(file).st_ino))
    monkeypatch.setattr(os, "replace", lambda old, new: events.append("renamed") or replace(old, new))
    path = tmp_path / "out.txt"
    with atomic_file(path) as stream:
        stream.write(b"whole")
    assert events == [path.stat().st_ino, "renamed", tmp_path.stat().st_ino]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_file_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    path = tmp_path / "out.txt"
    path.write_bytes(b"old")
    with pytest.raises(stop), atomic_file(path) as stream:
        stream.write(b"new")
        raise stop
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["out.txt"]


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out"
    with atomic_folder(path) as folder:
        (folder / "a").write_text("1")
    with atomic_folder(path) as folder:
        (folder / "b").write_text("2")
        assert [file.name for file in path.iterdir()] == ["a"]
    assert [file.name for file in path.iterdir()] == ["b"]
    assert [file.name for file in path.parent.iterdir()] == ["out"]


def test_an_interrupted_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write_atomic(path / "a", b"old")
    with pytest.raises(KeyboardInterrupt), atomic_folder(path) as folder:
        (folder / "a").write_text("new")
        raise KeyboardInterrupt
    assert (path / "a").read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_process_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "out[1].txt"  # a name that means something to glob
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout
    leftover = tmp_path / f".out[1].txt.tmp-{int(dead)}"
    leftover.touch()
    ours = tmp_path / f".out[1].txt.tmp-{os.getppid()}"  # a process that lives
    ours.touch()
    write_atomic(path, b"x")
    assert not leftover.exists() and ours.exists()


def test_a_folder_whose_replacement_was_killed_between_two_renames_comes_back(tmp_path: Path) -> None:
    dead = int(
        subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout
    )
    write_atomic(tmp_path / f".out.old-{dead}" / "a", b"old")
    with pytest.raises(ValueError), atomic_folder(tmp_path / "out"):
        raise ValueError
    assert (tmp_path / "out" / "a").read_bytes() == b"old"


def test_replacing_a_folder_by_one_that_is_not_there_keeps_the_old(tmp_path: Path) -> None:
    write_atomic(tmp_path / "out" / "a", b"old")
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "nowhere", tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == b"old"


def test_an_existing_output_is_refused_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "out"
    refuse_existing(path, force=False)
    path.touch()
    with pytest.raises(UsageError, match="already exists"):
        refuse_existing(path, force=False)
    refuse_existing(path, force=True)
    refuse_existing(Path("/dev/null"), force=False)  # a device is written in place


def test_stdout_is_no_place_for_what_is_written_under_a_name() -> None:
    for force in (False, True):
        with pytest.raises(UsageError, match="-: stdout has the report"):
            refuse_existing(Path("-"), force=force)
    refuse_existing(Path("-o"), force=False)


def test_an_output_that_is_an_input_is_refused_even_when_forced(tmp_path: Path) -> None:
    path, link, hard = tmp_path / "a", tmp_path / "link", tmp_path / "hard"
    path.touch()
    link.symlink_to(path)
    hard.hardlink_to(path)
    for same in (path, link, hard):
        with pytest.raises(UsageError, match="also an input"):
            refuse_existing(path, force=True, inputs=[Path("-"), same])


def test_what_is_there_in_an_input_folder_is_refused_even_when_forced_and_a_new_name_is_not(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "model"
    write_atomic(folder / "config.json", b"precious")
    (tmp_path / "link").symlink_to(folder)
    for source in (folder, tmp_path / "link"):
        with pytest.raises(UsageError, match="is there already, in the input"):
            refuse_existing(folder / "config.json", force=True, inputs=[source])
        refuse_existing(folder / "new.json", force=True, inputs=[source])
        for beside in ("model.gguf", "run.html", "out.jsonl"):  # no part of a model, and made again
            (folder / beside).touch()
            refuse_existing(folder / beside, force=True, inputs=[source])


def test_a_part_of_a_model_that_is_a_link_to_elsewhere_is_refused_too(tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"
    write_atomic(tmp_path / "blobs" / "0a1b", b"{}")
    folder.mkdir()
    (folder / "config.json").symlink_to(tmp_path / "blobs" / "0a1b")
    with pytest.raises(UsageError, match="is there already, in the input"):
        refuse_existing(folder / "config.json", force=True, inputs=[folder])


def test_an_output_folder_that_holds_an_input_is_refused(tmp_path: Path) -> None:
    write_atomic(tmp_path / "text" / "a.txt", b"precious")
    with pytest.raises(UsageError, match="holds the input"):
        refuse_existing(tmp_path / "text", force=True, inputs=[tmp_path / "text" / "a.txt"])


def test_a_link_into_the_output_folder_that_an_input_is_named_by_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    write_atomic(tmp_path / "out" / "llmkit.json", b"{}")
    (tmp_path / "out" / "link").symlink_to(tmp_path / "a.txt")
    with pytest.raises(UsageError, match="holds the input"):
        refuse_existing(tmp_path / "out", force=True, inputs=[tmp_path / "out" / "link"])


def test_a_folder_of_others_is_not_replaced_even_when_forced_and_one_of_ours_or_an_empty_one_is(
    tmp_path: Path,
) -> None:
    write_atomic(tmp_path / "out" / "thesis.tex", b"precious")
    for force, problem in ((True, "holds nothing that llmkit"), (False, "already exists")):
        with pytest.raises(UsageError, match=problem) as caught:
            refuse_existing(tmp_path / "out", force=force)
        assert "--force" not in caught.value.hint
    for mark in ("llmkit.json", "index.json", "config.json", "tokenizer.json", "adapter_config.json"):
        write_atomic(tmp_path / mark.partition(".")[0] / mark, b"{}")
        refuse_existing(tmp_path / mark.partition(".")[0], force=True)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    refuse_existing(tmp_path / "run", force=True)
    (tmp_path / "empty").mkdir()
    refuse_existing(tmp_path / "empty", force=True)


def test_the_folder_we_are_in_and_those_above_it_are_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    for place in (".", "..", "/", tmp_path / "deep", "../deep"):
        with pytest.raises(UsageError, match="you are in it"):
            refuse_existing(Path(place), force=True)


def test_what_a_link_leads_to_is_replaced_or_made_and_the_link_stays(tmp_path: Path) -> None:
    for name in ("there", "nowhere"):
        (tmp_path / f"{name}.link").symlink_to(Path("deep") / name)
        (tmp_path / f"{name}.txt").symlink_to(Path("deep") / f"{name}.file")
    write_atomic(tmp_path / "deep" / "there" / "old", b"")
    write_atomic(tmp_path / "deep" / "there.file", b"old")
    for name in ("there", "nowhere"):
        with atomic_folder(tmp_path / f"{name}.link") as folder:
            (folder / "new").touch()
        write_atomic(tmp_path / f"{name}.txt", b"new")
        assert (tmp_path / f"{name}.link").is_symlink() and (tmp_path / f"{name}.txt").is_symlink()
        assert [file.name for file in (tmp_path / "deep" / name).iterdir()] == ["new"]
        assert (tmp_path / "deep" / f"{name}.file").read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 5 and len(list((tmp_path / "deep").iterdir())) == 4


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UsageError, match="leads to itself"):
        refuse_existing(tmp_path / "loop", force=True)


def test_a_named_pipe_is_written_in_place(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    write_atomic(pipe, b"through")
    assert reader.communicate()[0] == b"through"
    assert pipe.is_fifo()


def test_a_folder_left_by_a_process_of_the_same_number_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / f".out.tmp-{os.getpid()}"  # in a container every run may be process 1
    left.mkdir()
    (left / "half").write_text("x")
    with atomic_folder(tmp_path / "out") as folder:
        assert list(folder.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_that_cannot_be_written_is_named_by_its_target(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from llmkit.formats.atomic import write_atomic\n"
        "try: write_atomic(Path(sys.argv[1]), b'x' * 100_000)\n"
        "except OSError as error: print(error.filename)"
    )
    line = f"ulimit -f 8; {sys.executable} -c {shlex.quote(code)} {tmp_path}/out"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}/out\n"
    assert list(tmp_path.iterdir()) == []


def test_an_output_below_a_file_is_refused_before_any_work_and_folders_that_are_missing_are_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for place in ("file/out", "file/deep/out", "dangling/out"):
        with pytest.raises(UsageError, match=f"{place}: .* is no folder"):
            refuse_existing(tmp_path / place, force=True)
    refuse_existing(tmp_path / "deep" / "er" / "out", force=False)
    assert not (tmp_path / "deep").exists()


def test_a_folder_that_may_not_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o555)
    for place in (shut / "out", shut / "deep" / "out"):
        done = _bound("refuse_existing(path, force=True)", place)
        assert f"UsageError: {place}: the folder {shut} may not be written" in done
    assert _bound("refuse_existing(path, force=True)", tmp_path / "out") == ""


def test_what_is_added_to_need_not_have_a_folder_that_may_be_written_but_has_to_have_one(
    tmp_path: Path,
) -> None:
    shut = tmp_path / "shut"
    shut.mkdir()
    (shut / "log").touch()
    (shut / "old").touch(mode=0o444)
    shut.chmod(0o555)
    check = "refuse_unwritable(path, in_place=True)"
    assert _bound(check, shut / "log") == ""
    assert "UsageError" in _bound(check, shut / "new")
    assert f"UsageError: {shut / 'old'}: may not be written" in _bound(check, shut / "old")
    with pytest.raises(MissingError, match="no such folder"):
        refuse_unwritable(tmp_path / "deep" / "log", in_place=True)
    with pytest.raises(UsageError, match="is a folder"):
        refuse_unwritable(shut, in_place=True)


def test_a_folder_where_a_file_is_to_be_is_refused_even_when_forced(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        refuse_existing(tmp_path, force=True, is_file=True)
    refuse_existing(tmp_path, force=True)


@pytest.mark.parametrize(
    "line",
    [
        "write_atomic(path, b'x')",
        "with atomic_folder(path) as folder: pass",
    ],
)
def test_an_error_of_the_system_names_what_was_named_not_the_temporary_file(
    tmp_path: Path, line: str
) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o555)
    assert f"PermissionError: [Errno 13] Permission denied: '{shut / 'out'}'" in _bound(line, shut / "out")


def test_an_error_inside_a_folder_that_is_made_names_the_file_in_the_folder_that_is_to_be(
    tmp_path: Path,
) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_folder(tmp_path / "out") as folder:
        (folder / "deep" / "file").write_bytes(b"")
    assert caught.value.filename == str(tmp_path / "out" / "deep" / "file")
    with pytest.raises(IsADirectoryError) as other, atomic_file(tmp_path):
        pass
    assert (other.value.filename, other.value.filename2) == (str(tmp_path), None)


def test_a_write_that_finds_no_room_names_the_folder_where_the_system_names_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, atomic_folder(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "out")
    with pytest.raises(OSError) as caught, atomic_folder(tmp_path / "out"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # it may be of what is read
    assert caught.value.filename is None


def test_a_folder_takes_the_place_of_a_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.touch()
    with atomic_folder(path) as folder:
        (folder / "a").touch()
    assert [file.name for file in tmp_path.rglob("*")] == ["out", "a"]


def test_files_beside_a_path_are_there_together_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with atomic_files(out) as folder:
        for name in ("out-1", "out-2"):
            (folder / name).write_text(name)
        assert [file.name for file in tmp_path.iterdir()] == [folder.name]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out-1", "out-2"]
    with pytest.raises(ValueError), atomic_files(out) as folder:
        (folder / "out-1").write_text("new")
        raise ValueError
    assert (tmp_path / "out-1").read_text() == "out-1"
    with pytest.raises(FileNotFoundError) as caught, atomic_files(out) as folder:
        (folder / "deep" / "file").write_bytes(b"")
    assert caught.value.filename == str(tmp_path / "deep" / "file")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out-1", "out-2"]


def test_a_pipe_is_not_renamed_away_for_a_folder(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="a pipe or a device"), atomic_folder(pipe):
        pytest.fail("nothing is written")
    (tmp_path / "made").mkdir()
    with pytest.raises(UsageError, match="a pipe or a device"):
        replace_folder(tmp_path / "made", pipe)
    assert pipe.is_fifo() and sorted(file.name for file in tmp_path.iterdir()) == ["made", "pipe"]


def _bound(line: str, path: Path) -> str:
    """The last line on stderr of a process that permissions bind, root's too."""
    begin = (
        "import sys; from pathlib import Path; from llmkit.formats.atomic import *; path = Path(sys.argv[1])"
    )
    free = [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    done = subprocess.run(
        [*free, sys.executable, "-c", f"{begin}\n{line}", str(path)], capture_output=True, text=True
    )
    return done.stderr.strip().rpartition("\n")[2]
