"""safetensors files written tensor by tensor, read by the library of that name."""

import errno
import io
import os
import resource
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, save_file

from llmkit.formats.model_folder import read_header
from llmkit.formats.safetensors_write import Planned, system_errors, write_safetensors

TENSORS = {
    "bytes": ("U8", torch.arange(5, dtype=torch.uint8)),
    "half": ("F16", torch.arange(6).reshape(2, 3).half()),
    "brain": ("BF16", torch.arange(3).bfloat16()),
    "small": ("I8", torch.arange(-3, 4, dtype=torch.int8)),
    "wide": ("F32", torch.arange(4).reshape(2, 1, 2).float()),
    "none": ("I32", torch.empty((0, 4), dtype=torch.int32)),
}


def _planned(name: str, *, parts: int = 1) -> Planned:
    dtype, tensor = TENSORS[name]
    content = tensor.contiguous().view(torch.uint8).numpy().tobytes()
    size = -(-len(content) // parts) or 1
    pieces = [content[begin : begin + size] for begin in range(0, len(content), size)]
    return Planned(name, dtype, tuple(tensor.shape), lambda: pieces)


def test_the_library_reads_every_tensor_and_the_metadata_whatever_their_order(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as stream:
        write_safetensors(stream, [_planned(name, parts=3) for name in TENSORS], {"made": 'é "x"'})
    found = load_file(path)
    assert found.keys() == TENSORS.keys()
    for name, (_, tensor) in TENSORS.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"made": 'é "x"'}
    header = read_header(path)  # ours checks that the offsets leave no gap
    for one in header.tensors.values():
        assert one.offset % (one.nbytes // max(1, one.numel) or 1) == 0


def test_nothing_at_all_is_a_file_too() -> None:
    stream = io.BytesIO()
    write_safetensors(stream, [], {})
    assert load(stream.getvalue()) == {}


def test_a_tensor_of_another_size_than_planned_is_an_error() -> None:
    short = Planned("x", "F32", (2,), lambda: [b"1234"])
    with pytest.raises(ValueError, match="x: 4 bytes written, 8 planned"):
        write_safetensors(io.BytesIO(), [short], {})


def test_a_full_disk_is_the_systems_error_and_not_the_librarys(tmp_path: Path) -> None:
    path, before = tmp_path / "big.safetensors", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(OSError) as caught, system_errors(path):
            save_file({"big": torch.zeros(1 << 16)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_what_the_library_writes_may_be_read_as_any_other_output(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with system_errors(tmp_path / "model.safetensors"):
            save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask
