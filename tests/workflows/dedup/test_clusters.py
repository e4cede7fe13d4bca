"""The folder to work in."""

import subprocess
from pathlib import Path

import pytest

from llmkit.workflows.dedup.clusters import work_folder


def test_it_stands_beside_the_output_and_goes_whatever_happens(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), work_folder(tmp_path / "new" / "out.jsonl") as folder:
        assert folder.parent == tmp_path / "new" and folder.is_dir()
        raise RuntimeError
    assert list((tmp_path / "new").iterdir()) == []
    with work_folder(None) as folder:
        assert folder.is_dir() and folder.parent != tmp_path


def test_what_a_dead_process_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for process in (ended.pid, 1):
        (tmp_path / f".out.jsonl.dedup-{process}").mkdir()
    with work_folder(tmp_path / "out.jsonl"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".out.jsonl.dedup-1"]
