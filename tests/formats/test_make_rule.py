"""Rules for make, as make reads them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from llmkit.formats.make_rule import write_make_rule


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
def test_make_builds_again_when_an_input_is_newer_whatever_its_name_and_not_when_one_is_gone(
    tmp_path: Path,
) -> None:
    names = ["a b.txt", "c#d", "e$f", "g:h", "i%j", "plain", os.fsdecode(b"caf\xe9")]
    for name in names:
        (tmp_path / name).touch()
    write_make_rule(tmp_path / "rule.mk", Path("out.bin"), [Path(name) for name in [*names, "plain"]])
    (tmp_path / "Makefile").write_text("out.bin:\n\techo built >> log\n\ttouch out.bin\n-include rule.mk\n")

    def built() -> int:
        subprocess.run(["make", "out.bin"], cwd=tmp_path, check=True, capture_output=True)
        return len((tmp_path / "log").read_text().splitlines())

    assert built() == 1 and built() == 1
    for count, name in enumerate(names, 2):
        newer = (tmp_path / "out.bin").stat().st_mtime_ns + 10**9
        os.utime(tmp_path / name, ns=(newer, newer))
        assert built() == count, name
        os.utime(tmp_path / name, ns=(0, 0))
    (tmp_path / "c#d").unlink()
    assert built() == len(names) + 2 and built() == len(names) + 3  # a gone file is always newer


def test_without_inputs_the_target_stands_alone(tmp_path: Path) -> None:
    write_make_rule(tmp_path / "rule.mk", Path("out/index.json"), [])
    assert (tmp_path / "rule.mk").read_text() == "out/index.json:\n"
