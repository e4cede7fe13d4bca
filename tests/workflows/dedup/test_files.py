"""Arrays on disk."""

from pathlib import Path

import numpy as np
import pytest

from llmkit.workflows.dedup.files import open_parts, write_array


def test_arrays_stand_one_behind_the_other_and_are_counted(tmp_path: Path) -> None:
    parts = [np.array([1, 2], "<u4"), np.array([3, 4, 5], "<u4")[::-1]]
    output = write_array(tmp_path / "a.bin", parts, tmp_path)
    assert np.fromfile(tmp_path / "a.bin", "<u4").tolist() == [1, 2, 5, 4, 3]
    assert (output.path, output.rows, output.size_bytes) == ("a.bin", 5, 20)


def test_parts_appear_together_or_not_at_all(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(RuntimeError), open_parts(paths) as streams:
        streams[0].write(b"x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with open_parts(paths) as streams:
        streams[1].write(b"y")
    assert [path.read_bytes() for path in paths] == [b"", b"y"]
