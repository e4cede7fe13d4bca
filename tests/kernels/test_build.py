"""Building, with compilers that only pretend: a real build is what the other tests run on."""

import json
from pathlib import Path

import pytest

from llmkit.kernels import build as building
from llmkit.kernels.build import build, read_note


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the sources' folder with one small source."""
    (tmp_path / "kernels" / "native").mkdir(parents=True)
    (tmp_path / "kernels" / "native" / "api.cpp").write_text("int one;\n")
    return tmp_path / "kernels"


@pytest.fixture
def compiler(tmp_path: Path) -> Path:
    """Writes what it is asked for and logs its command lines; knows no bfloat16, refuses `broken` sources."""
    path = tmp_path / "compiler"
    path.write_text(
        f"""#!/bin/sh
echo "$*" >> {tmp_path}/log
case "$*" in
  *--version*) echo "pretend 1.0"; exit 0;;
  *avx512bf16*) echo "error: unknown option" >&2; exit 1;;
esac
grep -qs broken {tmp_path}/kernels/native/api.cpp && {{ echo "api.cpp:1: error: broken" >&2; exit 1; }}
while [ "$1" != -o ]; do shift; done
echo built > "$2"
"""
    )
    path.chmod(0o755)
    return path


def lines(compiler: Path) -> list[str]:
    return (compiler.parent / "log").read_text().splitlines()


def test_each_level_is_compiled_with_its_own_flags(
    folder: Path, compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building.platform, "machine", lambda: "x86_64")
    built = build(str(compiler), folder=folder)
    assert built.reason is None
    assert built.levels == ("portable", "avx2", "avx512")
    assert (folder / "_native.so").read_text() == "built\n"
    flagged = {
        line.split(".cpp")[0].rsplit("/", 1)[1]: "-mavx512f" in line
        for line in lines(compiler)
        if ".cpp -o" in line
    }
    levels = {name for name in flagged if name.startswith("level_")}
    assert levels == {"level_portable", "level_avx2", "level_avx512"}
    assert [name for name, wide in flagged.items() if wide] == ["level_avx512"]
    assert {"pool", "api", "dispatch"} <= set(flagged)
    dispatch = next(line for line in lines(compiler) if "dispatch.cpp" in line)
    assert "-DLLMKIT_LEVEL_AVX512 " in dispatch
    assert "BF16" not in dispatch


def test_an_unknown_machine_gets_the_portable_level(
    folder: Path, compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building.platform, "machine", lambda: "riscv64")
    assert build(str(compiler), folder=folder).levels == ("portable",)


def test_unchanged_sources_are_not_compiled_again_and_changed_ones_are(folder: Path, compiler: Path) -> None:
    first = build(str(compiler), folder=folder)
    count = len(lines(compiler))
    assert build(str(compiler), folder=folder) == first
    assert len(lines(compiler)) == count + 1  # its version
    (folder / "native" / "api.cpp").write_text("int two;\n")
    build(str(compiler), folder=folder)
    assert len(lines(compiler)) > count + 4


def test_no_compiler_leaves_a_reason_and_no_library(folder: Path) -> None:
    (folder / "_native.so").write_text("of another machine")
    built = build("/nowhere/g++", folder=folder)
    assert built.reason == "no C++ compiler (/nowhere/g++)"
    assert read_note(folder / "_native.json")["reason"] == built.reason
    assert not (folder / "_native.so").exists()


def test_a_failing_compiler_leaves_its_first_error(folder: Path, compiler: Path) -> None:
    (folder / "native" / "api.cpp").write_text("broken\n")
    built = build(str(compiler), folder=folder)
    assert built.reason is not None
    assert built.reason.endswith("compiler failed: api.cpp:1: error: broken")
    count = len(lines(compiler))
    assert build(str(compiler), folder=folder) == built
    assert len(lines(compiler)) == count + 1  # not tried again


def test_a_note_that_is_no_note_is_no_note(tmp_path: Path) -> None:
    assert read_note(tmp_path / "none.json") == {}
    (tmp_path / "note.json").write_text("[1")
    assert read_note(tmp_path / "note.json") == {}
    (tmp_path / "note.json").write_text(json.dumps([1]))
    assert read_note(tmp_path / "note.json") == {}


def test_a_compiler_may_have_words_before_and_flags_behind_it(folder: Path, compiler: Path) -> None:
    assert build(f"env A='b c' {compiler} -m64", folder=folder).reason is None  # as CXX="ccache g++ -m64"
    compiled = [line for line in lines(compiler) if ".cpp -o" in line]
    assert compiled and all(line.startswith("-m64 -std=c++17") for line in compiled)
    assert build(f"nowhere {compiler}", folder=folder).reason == f"no C++ compiler (nowhere {compiler})"
    assert build(" ", folder=folder).reason == "no C++ compiler ( )"
