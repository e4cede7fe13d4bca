"""Pages of a mapped file go back when they are not needed, and nobody else's with them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from llmkit.model.mapped import FileMappings, MappedFiles


def resident_file_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this call")
def test_pages_leave_the_process_and_come_back_as_the_file_has_them(tmp_path: Path) -> None:
    kept = {"a": torch.randn(1 << 21), "b": torch.randn(1 << 21)}  # 8 MiB each
    save_file(kept, tmp_path / "two.safetensors")
    mapped = load_file(tmp_path / "two.safetensors")
    for name, tensor in mapped.items():
        assert torch.equal(tensor, kept[name])  # which reads all of it
    mapped["b"][0] = 7  # a page of b's own now: it must not be lost when a goes
    before = resident_file_bytes()
    dropped = FileMappings().forget_pages(mapped["a"])
    assert (8 << 20) - 8192 < dropped <= 8 << 20
    assert before - resident_file_bytes() > 7 << 20
    assert mapped["b"][0] == 7 and torch.equal(mapped["b"][1:], kept["b"][1:])
    assert torch.equal(mapped["a"], kept["a"])


def test_memory_that_no_file_is_behind_and_small_tensors_are_left_alone(tmp_path: Path) -> None:
    plain = torch.ones(1 << 16)
    assert FileMappings().forget_pages(plain) == 0 and plain.sum() == 1 << 16
    save_file({"a": torch.ones(8)}, tmp_path / "a.safetensors")
    small = load_file(tmp_path / "a.safetensors")["a"]
    assert FileMappings().forget_pages(small) == 0


def test_what_was_mapped_later_is_left_alone(tmp_path: Path) -> None:
    mappings = FileMappings()
    save_file({"a": torch.ones(1 << 22)}, tmp_path / "a.safetensors")
    later = load_file(tmp_path / "a.safetensors")["a"]
    assert mappings.forget_pages(later) == 0


def test_a_file_s_own_pages_are_given_and_what_is_written_to_them_stays_here(tmp_path: Path) -> None:
    stored = np.arange(1 << 16, dtype=np.float32)
    path = tmp_path / "numbers"
    path.write_bytes(b"headhead" + stored.tobytes())
    files = MappedFiles()
    rows = files.array(path, 8 + 4 * 1024, (60, 1024), np.float32)
    assert np.array_equal(rows, stored[1024 : 61 * 1024].reshape(60, 1024))
    again = files.array(path, 8, (1 << 16,), np.float32)
    rows[0, 0] = -1
    assert again[1024] == -1  # one mapping
    assert path.read_bytes() == b"headhead" + stored.tobytes()
    assert MappedFiles().array(path, 8, (1 << 16,), np.float32)[1024] == 1024


def test_numbers_that_begin_within_one_of_their_size_are_copied(tmp_path: Path) -> None:
    stored = np.arange(1 << 14, dtype=np.float32)
    path = tmp_path / "numbers"
    path.write_bytes(b"odd" + stored.tobytes())
    files = MappedFiles()
    found = files.array(path, 3, (1 << 14,), np.float32)
    assert found.flags.aligned and np.array_equal(found, stored)
    assert files.forget_pages(found) == 0 and np.array_equal(found, stored)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this call")
def test_files_forget_pages_of_their_own_arrays_whenever_they_were_mapped(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).normal(size=1 << 20).astype(np.float32)  # 4 MiB each
    files, plain = MappedFiles(), np.ones(1 << 16)
    for name in "ab":
        (tmp_path / name).write_bytes(stored.tobytes())
        array = files.array(tmp_path / name, 0, stored.shape, np.float32)
        assert np.array_equal(array, stored)  # which reads all of it
        before = resident_file_bytes()
        assert files.forget_pages(array[1:]) == (4 << 20) - 4096
        assert before - resident_file_bytes() > 3 << 20
        assert np.array_equal(array, stored)
        assert files.forget_pages(array[::2]) == 0
    assert files.forget_pages(plain) == 0 and plain.all()
    assert MappedFiles().forget_pages(array) == 0
    assert FileMappings().forget_pages(array) == 4 << 20
