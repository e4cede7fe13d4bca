"""A run folder for one process: nobody else comes in, and nothing is written where it is another's."""

import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.formats.metrics import METRICS
from llmkit.workflows.run.claim import FolderLostError, claimed, locked
from llmkit.workflows.run.folder import REPLACED


def test_one_process_at_a_time_works_in_a_run(tmp_path: Path, forked_python: Path) -> None:
    out = tmp_path / "run"
    line = (
        "import sys; from pathlib import Path; from llmkit.workflows.run.claim import locked\n"
        "with locked(Path(sys.argv[1])): print('in')"
    )
    with locked(out):
        other = subprocess.run(
            [forked_python, "-c", line, str(out)], capture_output=True, text=True, check=False
        )
        assert other.stdout == "" and "another process is training in it" in other.stderr
        (out / "metrics.jsonl").touch()
    with locked(out):  # free again
        pass
    assert [path.name for path in out.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("left", [[], ["metrics.jsonl"]])
def test_who_waits_at_a_run_that_ends_is_alone_in_it_afterwards(
    tmp_path: Path, before_lock: Callable[[Callable[[], object]], None], left: list[str]
) -> None:
    out, first = tmp_path / "run", ExitStack()
    first.enter_context(locked(out))
    for name in left:
        (out / name).touch()
    before_lock(first.close)  # the second has opened the lock of the first by then
    with locked(out):
        assert out.is_dir()
        with pytest.raises(UsageError, match="another process is training in it"), locked(out):
            pass
    assert [path.name for path in out.iterdir()] == left


def test_a_folder_that_stays_empty_goes_and_one_that_was_there_stays(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "deep" / "run"):
        raise ZeroDivisionError
    assert not (tmp_path / "deep" / "run").exists()
    (tmp_path / "mine").mkdir()
    with locked(tmp_path / "mine"):
        pass
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_claimed_folder_has_the_run_back_that_was_set_aside_and_is_nobody_elses(tmp_path: Path) -> None:
    out = tmp_path / "run"
    (out / REPLACED).mkdir(parents=True)
    (out / REPLACED / METRICS).write_text("{}\n")
    with claimed(out, []):
        assert (out / METRICS).is_file() and not (out / REPLACED).exists()
        with pytest.raises(UsageError, match="another process"), claimed(out, []):
            pass
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="is not a run"), claimed(other, []):
        pass


@pytest.mark.parametrize("how", ["removed", "moved", "a file", "another run"])
def test_a_folder_that_was_removed_or_replaced_is_not_this_runs_and_is_left_alone(
    tmp_path: Path, how: str
) -> None:
    out, first = tmp_path / "run", ExitStack()
    with ExitStack() as other:
        claim = first.enter_context(locked(out))
        claim.check()
        (out / METRICS).touch()
        if how == "moved":
            out.rename(tmp_path / "elsewhere")
        else:
            shutil.rmtree(out)
        if how == "a file":
            out.touch()
        if how == "another run":
            other.enter_context(locked(out)).check()
        before = sorted(tmp_path.rglob("*"))
        assert not claim.holds
        with pytest.raises(FolderLostError, match="the run's folder was removed or replaced") as caught:
            claim.check()
        assert caught.value.status == 5
        first.close()
        assert sorted(tmp_path.rglob("*")) == before  # the other's lock too
