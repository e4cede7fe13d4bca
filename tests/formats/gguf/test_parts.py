"""Models in several files: those that the gguf package cuts, and those that do not belong together."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_copies import split_gguf

from llmkit.errors import DataError, LlmkitError, MissingError
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.gguf.parts import joined_header, name_of, read_gguf_parts
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.formats.gguf.write import GgufTensor, write_gguf

NAMES = ("a", "b", "c", "d", "e")


def test_a_model_is_called_after_its_folder_or_files(tmp_path: Path) -> None:
    names = {
        "run": "run",
        "m.gguf": "m",
        "m-00001-of-00003.gguf": "m",
        "m-00001.gguf": "m-00001",
        "v1.5": "v1.5",
    }
    assert {one: name_of(tmp_path / one) for one in names} == names
    (tmp_path / "latest.gguf").symlink_to(tmp_path / "q-7b-00001-of-00002.gguf")
    assert name_of(tmp_path / "latest.gguf") == "q-7b"


def write(path: Path, names: tuple[str, ...], **keys: MetadataValue) -> Path:
    values = [np.full((2, 8), ord(name), np.float32) for name in names]
    tensors = [GgufTensor(one, (2, 8), "F32", lambda v=v: v) for one, v in zip(names, values, strict=True)]  # type: ignore[misc]
    with path.open("wb") as stream:
        write_gguf(stream, {"general.architecture": "llama", **keys}, tensors)
    return path


def part(folder: Path, number: int, count: Any, names: tuple[str, ...], total: int = 3) -> Path:
    """By hand: one file of two, as its keys say."""
    keys = {
        "split.no": Typed("u16", number),
        "split.count": count,
        "split.tensors.count": Typed("i32", total),
    }
    return write(folder / f"m-{number + 1:05d}-of-00002.gguf", names, **keys)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    count = Typed("u16", 2)
    return part(tmp_path, 0, count, ("a", "b")), part(tmp_path, 1, count, ("c",))


@pytest.mark.parametrize("small_first", [False, True])
def test_the_parts_that_the_gguf_package_cuts_are_the_whole_again(tmp_path: Path, small_first: bool) -> None:
    whole = write(tmp_path / "m.gguf", NAMES, **{"llama.block_count": Typed("u32", 7)})
    files = split_gguf(whole, tmp_path / "parts", 2, small_first=small_first)
    assert len(files) == (4 if small_first else 3)
    parts = read_gguf_parts(files[0])
    assert [one.path for one in parts] == files
    joined, alone = joined_header(parts), read_gguf_header(whole)
    assert {(one.name, one.dims, one.type, one.nbytes) for one in joined.tensors} == {
        (one.name, one.dims, one.type, one.nbytes) for one in alone.tensors
    }
    assert len(joined.tensors) == 5 and joined.nbytes == alone.nbytes
    assert joined.metadata["llama.block_count"] == 7


def test_a_whole_file_is_one_part_whatever_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "m-00002-of-00003.gguf", NAMES)
    (one,) = read_gguf_parts(path)
    assert one.path == path and one.header == read_gguf_header(path)
    for count in (0, 1):
        named = write(tmp_path / "m.gguf", NAMES, **{"split.count": Typed("u16", count)})
        assert len(read_gguf_parts(named)) == 1


def test_the_first_is_the_one_to_name(two: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match=r"m-00002-of-00002\.gguf: part 2 of 2 files") as caught:
        read_gguf_parts(two[1])
    assert caught.value.hint == f"name the first: {two[0]}"


def test_a_part_that_is_not_there_is_named(two: tuple[Path, Path]) -> None:
    two[1].unlink()
    with pytest.raises(MissingError, match=r"m-00002-of-00002\.gguf: no such file") as caught:
        read_gguf_parts(two[0])
    assert caught.value.status == 4 and "into one folder" in caught.value.hint


@pytest.mark.parametrize("name", ["m.gguf", "m-00001-of-00003.gguf", "m-1-of-2.gguf"])
def test_a_first_file_whose_name_does_not_lead_to_the_others_is_refused(
    two: tuple[Path, Path], name: str
) -> None:
    with pytest.raises(DataError, match=r"one of 2 files .* does not lead to the others") as caught:
        read_gguf_parts(two[0].rename(two[0].with_name(name)))
    assert "-00001-of-00002.gguf" in caught.value.hint


def _short(folder: Path) -> None:
    part(folder, 0, Typed("u16", 2), ("a", "b"), total=4)


def _twice(folder: Path) -> None:
    part(folder, 1, Typed("u16", 2), ("b",))


def _again(folder: Path) -> None:
    shutil.copy(folder / "m-00001-of-00002.gguf", folder / "m-00002-of-00002.gguf")


def _alone(folder: Path) -> None:
    write(folder / "m-00002-of-00002.gguf", ("c",))


def _words(folder: Path) -> None:
    part(folder, 0, "two", ("a", "b"))


def _cut(folder: Path) -> None:
    path = folder / "m-00002-of-00002.gguf"
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (_short, r"00001-of-00002\.gguf: split\.tensors\.count says 4, and the 2 files have 3"),
        (_twice, r"00002-of-00002\.gguf: it has b, and so has m-00001-of-00002\.gguf"),
        (_again, r"00002-of-00002\.gguf: by its own keys it is not part 2 of 2"),
        (_alone, r"00002-of-00002\.gguf: by its own keys it is not part 2 of 2"),
        (_words, r"00001-of-00002\.gguf: split\.count is 'two'"),
        (_cut, r"00002-of-00002\.gguf: cut short"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    two: tuple[Path, Path], spoil: Any, problem: str
) -> None:
    assert len(joined_header(read_gguf_parts(two[0])).tensors) == 3
    spoil(two[0].parent)
    with pytest.raises(LlmkitError, match=problem) as caught:
        read_gguf_parts(two[0])
    assert caught.value.status == 3
