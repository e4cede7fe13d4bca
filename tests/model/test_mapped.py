"""Pages of a mapped file go back when they are not needed, and nobody else's with them."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmkit.model.mapped import FileMappings


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
