"""What stands where an output is to be."""

import os
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.formats.output_place import is_fixed, is_inside, is_special, linked, refuse_special


def test_a_link_is_where_it_leads_and_another_path_is_as_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert linked(tmp_path / "link") == tmp_path.resolve() / "nowhere"
    assert linked(Path("deep/../out")) == Path("deep/../out")


def test_an_input_lies_in_its_folder_and_in_those_above_and_stdin_in_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "a"):
        assert is_inside(tmp_path / "a" / "b", folder)
    assert not is_inside(tmp_path / "a" / "b", tmp_path / "c")
    assert not is_inside(Path("-"), Path())


def test_what_a_disk_is_mounted_on_is_fixed_and_a_folder_beside_us_is_not(tmp_path: Path) -> None:
    assert is_fixed(Path(os.sep)) and is_fixed(Path("/proc")) and not is_fixed(tmp_path)


def test_a_pipe_or_a_device_gives_its_place_to_no_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("pipe")
    for name in ("file", ".", "nowhere"):
        assert not is_special(tmp_path / name)
        refuse_special(tmp_path / name)
    for special in (tmp_path / "pipe", tmp_path / "link", Path("/dev/null")):
        assert is_special(special)
        with pytest.raises(UsageError, match="a pipe or a device, and a folder is to be written"):
            refuse_special(special)
