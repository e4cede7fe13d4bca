"""A GGUF model in several files: what is read of it again, the names, and all of them or none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmkit.errors import UsageError
from llmkit.formats.gguf.data import GgufData
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.gguf.split import atomic_gguf, cut_gguf, file_paths, refuse_parts
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.formats.gguf.write import GgufTensor

KEYS: dict[str, MetadataValue] = {"general.architecture": "llama", "general.alignment": Typed("u32", 64)}
SIZES = (10, 20, 30, 5, 5)


def _tensor(number: int, size: int) -> GgufTensor:
    return GgufTensor(f"t{number}", (size,), "F32", np.full(size, number, np.float32).tobytes)


TENSORS = [_tensor(number, size) for number, size in enumerate(SIZES)]


def _write(out: Path, max_bytes: int | None) -> list[Path]:
    files = cut_gguf(KEYS, TENSORS, max_bytes)
    with atomic_gguf(out, files):
        assert list(out.parent.glob("*.gguf")) == []  # not before the block ends
    assert [path.stat().st_size for path in file_paths(out, len(files))] == [one.nbytes for one in files]
    return file_paths(out, len(files))


def test_whole_tensors_in_order_fill_each_file_up_to_the_limit() -> None:
    runs = [[one.name for one in file.tensors] for file in cut_gguf(KEYS, TENSORS, 120)]
    assert runs == [["t0", "t1"], ["t2"], ["t3", "t4"]]  # 40 + 80, 120, 20 + 20 bytes
    runs = [[one.name for one in file.tensors] for file in cut_gguf(KEYS, TENSORS, 40)]
    assert runs == [["t0"], ["t1"], ["t2"], ["t3", "t4"]]  # larger ones have a file to themselves
    for limit in (None, 1000):
        (whole,) = cut_gguf(KEYS, TENSORS, limit)
        assert whole.metadata == KEYS and len(whole.tensors) == 5


def test_all_files_are_one_model_again(tmp_path: Path) -> None:
    paths = _write(tmp_path / "m.gguf", 120)
    assert [path.name for path in paths] == [f"m-0000{one}-of-00003.gguf" for one in (1, 2, 3)]
    data = GgufData(paths[0])
    assert list(data.tensors) == [one.name for one in TENSORS]
    assert all((data.values(f"t{number}") == number).all() for number in range(5))
    for number, path in enumerate(paths):
        keys = read_gguf_header(path).metadata
        told = (keys["split.no"], keys["split.count"], keys["split.tensors.count"])
        assert told == (number, 3, 5) and keys["general.alignment"] == 64
        assert ("general.architecture" in keys) == (number == 0)


def test_the_gguf_package_reads_every_file(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    found: dict[str, Any] = {}
    for path in _write(tmp_path / "m.gguf", 120):
        reader = gguf.GGUFReader(path)
        kinds = [reader.fields[f"split.{one}"].types[0].name for one in ("no", "count", "tensors.count")]
        assert kinds == ["UINT16", "UINT16", "INT32"]  # as llama-gguf-split has them
        found |= {one.name: one.data for one in reader.tensors}
    assert {name: (len(one), float(one[0])) for name, one in found.items()} == {
        f"t{number}": (size, float(number)) for number, size in enumerate(SIZES)
    }


def test_where_one_tensor_fails_no_file_is_left_and_none_is_lost(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"\0" * 4
        raise OSError("the disk is full")

    out = tmp_path / "m.gguf"
    before = {path.name: path.read_bytes() for path in _write(out, 120)}
    tensors = [*TENSORS[:-1], GgufTensor("t4", (5,), "F32", broken)]
    with pytest.raises(OSError, match="disk is full"), atomic_gguf(out, cut_gguf(KEYS, tensors, 40)):
        pass
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_first_file_is_not_there_before_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m.gguf"
    paths = _write(out, 120)
    own, seen = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        seen.append((target.name, paths[0].exists()))
        if len(seen) == 2:
            raise OSError("no room for a name")
        return own(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OSError, match="no room"), atomic_gguf(out, cut_gguf(KEYS, TENSORS, 120)):
        pass
    assert seen == [(paths[2].name, False), (paths[1].name, False)]
    assert not paths[0].exists() and not paths[2].exists()  # what was put there is taken away


def test_names_of_several_files_come_from_a_name_of_none(tmp_path: Path) -> None:
    taken = tmp_path / "m-00001-of-00003.gguf"
    assert file_paths(taken, 1) == [taken]
    with pytest.raises(UsageError, match="named as one file of several"):
        file_paths(taken, 2)
    out = tmp_path / "m.gguf"
    refuse_parts(out, force=False, inputs=[])
    _write(out, 120)
    with pytest.raises(UsageError, match=r"m-00001-of-00003\.gguf: already exists"):
        refuse_parts(out, force=False, inputs=[])
    refuse_parts(out, force=True, inputs=[])
    with pytest.raises(UsageError, match="also an input"):
        refuse_parts(out, force=True, inputs=[tmp_path / "m-00002-of-00003.gguf"])


def test_more_files_than_gguf_counts_are_refused() -> None:
    tensors = [_tensor(0, 1)] * (1 << 16)
    with pytest.raises(UsageError, match="into 65,536 files"):
        cut_gguf(KEYS, tensors, 1)
