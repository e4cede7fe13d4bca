"""Model folders: headers as the safetensors library has them, and what it refuses is refused in words."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from llmkit.errors import DataError, MissingError
from llmkit.formats.model_folder import (
    DTYPE_BITS,
    names_dtype,
    read_config,
    read_generation_config,
    read_header,
    read_json_object,
    read_tensors,
    weight_files,
)

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
A = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def _write(path: Path, header: Any, data_bytes: int = 16, *, header_bytes: int | None = None) -> Path:
    """A file in safetensors' layout: the header's length, the header, zeros."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(content) if header_bytes is None else header_bytes
    path.write_bytes(length.to_bytes(8, "little") + content + bytes(data_bytes))
    return path


def _sharded(folder: Path, weight_map: Any, **files: list[str]) -> Path:
    """A folder with an index and files that hold the named tensors."""
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for name, tensors in zip((FIRST, SECOND), files.values(), strict=False):
        save_file({tensor: torch.zeros(2, 2) for tensor in tensors}, folder / name)
    return folder


def test_every_tensor_is_where_the_header_says_and_is_what_was_stored(tmp_path: Path) -> None:
    tensors = {
        "float": torch.randn(3, 5),
        "brain": torch.randn(7).bfloat16(),
        "half": torch.randn(2, 1, 3).half(),
        "ids": torch.arange(5),
        "bytes": torch.arange(9, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "eight": torch.randn(4).to(torch.float8_e4m3fn),
        "scalar": torch.tensor(2.5),
        "nothing": torch.zeros(0, 4),
    }
    path = tmp_path / "m.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    header, content = read_header(path), path.read_bytes()
    assert header.metadata == {"format": "pt"}
    assert header.tensors.keys() == tensors.keys()
    with safe_open(path, framework="pt") as library:
        for name, tensor in tensors.items():
            found = header.tensors[name]
            assert (found.name, found.file) == (name, path)
            assert found.dtype == library.get_slice(name).get_dtype()
            assert (found.shape, found.numel, found.nbytes) == (
                tuple(tensor.shape), tensor.numel(), tensor.nbytes
            )  # fmt: skip
            assert DTYPE_BITS[found.dtype] == 8 * tensor.itemsize
            raw = tensor.flatten().view(torch.uint8)
            assert content[found.offset : found.offset + found.nbytes] == bytes(raw.tolist())


def test_nothing_but_the_header_is_read(tmp_path: Path) -> None:
    size = 1 << 34
    path = _write(tmp_path / "m", {"a": {"dtype": "I8", "shape": [size], "data_offsets": [0, size]}}, 0)
    os.truncate(path, path.stat().st_size + size)  # 16 GiB of hole
    assert read_header(path).tensors["a"].nbytes == size


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"header": {"a": A}, "data_bytes": 15}, r"is cut short \(15 bytes of tensors, the header says 16\)"),
        ({"header": {"a": A}, "data_bytes": 17}, "has bytes that belong to no tensor"),
        ({"header": {"a": A}, "header_bytes": 10**6}, "not a safetensors file, or cut short"),
        ({"header": {"a": A}, "header_bytes": 0}, "not a safetensors file, or cut short"),
        ({"header": {"a": A}, "header_bytes": 1 << 63}, "not a safetensors file, or cut short"),
        ({"header": b"[]"}, "not a safetensors header"),
        ({"header": b'{"a": '}, "not a safetensors header"),
        ({"header": b'{"\xff": 1}'}, "not a safetensors header"),
        ({"header": {"a": 5}}, "the header entry of a is damaged"),
        ({"header": {"a": {"dtype": "F32", "shape": [2, 2]}}}, "the header entry of a is damaged"),
        ({"header": {"a": A | {"data_offsets": [0]}}}, "the header entry of a is damaged"),
        ({"header": {"a": A | {"shape": ["2", 2]}}}, "the header entry of a is damaged"),
        ({"header": {"a": A | {"shape": [-2, -2]}}}, "the header entry of a is damaged"),
        ({"header": {"a": A | {"shape": [1.5, 2]}}}, "the header entry of a is damaged"),
        ({"header": {"a": A | {"shape": 4}}}, "the header entry of a is damaged"),
        ({"header": {"a": A | {"dtype": 32}}}, "the header entry of a is damaged"),
        ({"header": {"a": A, "__metadata__": 5}}, "the header's __metadata__ is damaged"),
        ({"header": {"a": A, "__metadata__": {"epoch": 5}}}, "the header's __metadata__ is damaged"),
        ({"header": {"a": A | {"shape": [2, 3]}}}, r"a takes 16 bytes, but F32 \[2, 3\] takes 24"),
        ({"header": {"a": A, "b": A}, "data_bytes": 32}, "the header has a gap at byte 16"),
        (
            {"header": {"a": A | {"data_offsets": [4, 20]}}, "data_bytes": 20},
            "the header has a gap at byte 0",
        ),
        ({"header": {"a": A | {"data_offsets": [16, 0]}}}, "a takes -16 bytes"),
    ],
)
def test_what_the_library_refuses_is_bad_data(tmp_path: Path, content: dict[str, Any], problem: str) -> None:
    path = _write(tmp_path / "m.safetensors", **content)
    with pytest.raises(SafetensorError), safe_open(path, framework="pt"):
        pass
    with pytest.raises(DataError, match=f"^{path}: {problem}"):
        read_header(path)


def test_a_file_shorter_than_a_length_and_one_that_is_not_there_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"\x01\x00")
    with pytest.raises(DataError, match=r"cut short \(2 bytes\)"):
        read_header(tmp_path / "short")
    with pytest.raises(MissingError, match="absent: no such file"):
        read_header(tmp_path / "absent")


def test_a_dtype_that_is_not_known_yet_is_taken_at_its_word(tmp_path: Path) -> None:
    entry = {"dtype": "F2_E1M0", "shape": [64], "data_offsets": [0, 16]}
    assert read_header(_write(tmp_path / "m", {"a": entry})).tensors["a"].nbytes == 16


def test_one_file_comes_before_an_index_and_an_indexs_files_come_sorted_and_once(tmp_path: Path) -> None:
    places = {"b": SECOND, "a": FIRST, "c": SECOND}
    folder = _sharded(tmp_path / "m", places, first=["a"], second=["b", "c"])
    assert weight_files(folder) == [folder / FIRST, folder / SECOND]
    assert {name: one.file.name for name, one in read_tensors(folder).items()} == places
    save_file({"whole": torch.zeros(1)}, folder / "model.safetensors")
    assert weight_files(folder) == [folder / "model.safetensors"]
    assert read_tensors(folder).keys() == {"whole"}


@pytest.mark.parametrize(
    ("weight_map", "first", "second", "problem"),
    [
        ({"a": FIRST, "b": SECOND}, ["a"], ["a", "b"], f"{SECOND}: tensor a is also in {FIRST}"),
        ({"a": FIRST, "b": FIRST}, ["a"], ["b"], f"places b in {FIRST}, which does not hold it"),
        ({"a": SECOND, "b": SECOND}, ["a"], ["b"], f"places a in {SECOND}, which does not hold it"),
        ({"a": "../secret"}, [], [], "no usable weight_map"),
        ({"a": ".."}, [], [], "no usable weight_map"),
        ({"a": ""}, [], [], "no usable weight_map"),
        ({"a": 1}, [], [], "no usable weight_map"),
        ({}, [], [], "no usable weight_map"),
        ([FIRST], [], [], "no usable weight_map"),
    ],
)
def test_an_index_that_tells_otherwise_than_the_files_is_bad_data(
    tmp_path: Path, weight_map: Any, first: list[str], second: list[str], problem: str
) -> None:
    folder = _sharded(tmp_path / "m", weight_map, first=first, second=second)
    with pytest.raises(DataError, match=problem):
        read_tensors(folder)


def test_a_folder_without_weights_says_what_it_found(tmp_path: Path) -> None:
    def problem(folder: Path) -> str:
        with pytest.raises(MissingError) as caught:
            weight_files(folder)
        return caught.value.problem

    assert problem(tmp_path / "absent") == f"{tmp_path / 'absent'}: no such model folder"
    assert problem(tmp_path) == f"{tmp_path}: no model.safetensors (found: nothing)"
    (tmp_path / "README.md").touch()
    assert problem(tmp_path) == f"{tmp_path}: no model.safetensors (found: README.md)"
    (tmp_path / "pytorch_model.bin").touch()
    assert "found pytorch_model.bin, a pickle, which is never read" in problem(tmp_path)
    folder = _sharded(tmp_path / "m", {"a": FIRST, "b": SECOND}, first=["a"])
    assert problem(folder) == f"{folder / SECOND}: no such file, but model.safetensors.index.json names it"


def test_a_config_is_read_from_its_folder_its_file_or_stdin(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_model()
    expected = json.loads((folder / "config.json").read_text())
    assert read_config(folder) == read_config(folder / "config.json") == expected
    with (folder / "config.json").open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert read_config(Path("-")) == expected
    with pytest.raises(MissingError, match=r"config\.json: no such file"):
        read_config(folder.parent)
    assert read_generation_config(folder) is None
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    assert read_generation_config(folder) == {"eos_token_id": [1, 2]}


@pytest.mark.parametrize(
    "content", [b"[1]", b"{", b"", b'{"a": "\xff"}', b"{} {}", b"[NaN]", b'{"a": Infinity', b'{"a": NaN,}']
)
def test_what_is_no_json_object_is_bad_data(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(DataError, match=r"c\.json: not a JSON object"):
        read_json_object(tmp_path / "c.json")


def test_what_python_writes_of_numbers_without_end_is_read(tmp_path: Path) -> None:
    config = {"time_step_limit": [0.0, math.inf], "least": -math.inf, "none": math.nan, "text": "NaN"}
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert repr(read_json_object(tmp_path / "c.json")) == repr(config)
    (tmp_path / "c.json").write_text('{"a": NaN, "a": 1}')
    with pytest.raises(DataError, match="the key 'a' is there twice"):
        read_json_object(tmp_path / "c.json")


def test_a_header_or_a_config_with_a_key_twice_is_damaged(tmp_path: Path) -> None:
    entry = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    header = b"{%s,%s}" % (entry, entry)
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(DataError, match="the key 'a' is there twice"):
        read_header(file)
    config = tmp_path / "config.json"
    config.write_text('{"hidden_size": 8, "hidden_size": 16}')
    with pytest.raises(DataError, match="the key 'hidden_size' is there twice"):
        read_config(config)


def test_of_stdin_that_is_no_object_no_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        with pytest.raises(DataError, match=r"stdin: not a JSON object \(there is nothing in it") as refused:
            read_json_object(Path("-"))
    assert refused.value.hint == "pipe one JSON object in"


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"dtype": "float16"}, True),
        ({"torch_dtype": "float16"}, True),
        ({"text_config": {"dtype": "bfloat16"}}, True),
        ({"dtype": None, "text_config": {"torch_dtype": None}}, False),
        ({"text_config": "dtype"}, False),
    ],
)
def test_a_dtype_is_named_by_either_key_outside_or_in_the_text_models_part(
    config: dict[str, Any], named: bool
) -> None:
    assert names_dtype(config) is named
