"""Tensors of GGUF files: those that llama.cpp's package wrote, and damaged ones."""

import io
import struct
import tracemalloc
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from gguf_copies import split_gguf

from llmkit.errors import DataError, MissingError
from llmkit.formats.gguf.blocks import LAYOUTS, dequantise, quantise
from llmkit.formats.gguf.data import GgufData
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.gguf.types import GGML_TYPES
from llmkit.formats.gguf.write import GgufTensor, write_gguf

VALUES = np.random.default_rng(0).standard_normal((4, 6, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def gguf() -> ModuleType:
    return pytest.importorskip("gguf", reason="the gguf package, which is compared with, is not installed")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.gguf"
    stream = io.BytesIO()
    items = [
        GgufTensor("w", VALUES.shape, "Q8_0", lambda: quantise(VALUES, "Q8_0")),
        GgufTensor("large", (2,), "F32", lambda: np.float32([1, 70000])),
        GgufTensor("none", (0, 32), "Q8_0", bytes),
        GgufTensor("index", (3,), "I32", lambda: np.arange(3, dtype=np.int32)),
        GgufTensor("one", (), "F32", lambda: np.float32([7])),
    ]
    write_gguf(stream, {"general.architecture": "llama"}, items)
    path.write_bytes(stream.getvalue())
    return path


def entry(name: str, dims: tuple[int, ...], offset: int, kind: int = 0) -> bytes:
    text = struct.pack("<Q", len(name)) + name.encode()
    return text + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def damaged(path: Path, *entries: bytes, data: int = 512) -> Path:
    header = b"GGUF" + struct.pack("<IQQ", 3, len(entries), 0) + b"".join(entries)
    path.write_bytes(header + bytes(-len(header) % 32 + data))
    return path


def test_files_of_llama_cpps_writer_are_read(gguf: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "theirs.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    generator = np.random.default_rng(4)
    for name in sorted(set(LAYOUTS) - {"F32", "F16", "F64", "BF16", "Q1_0", "Q2_0"}):
        raw = generator.integers(0, 256, (2, 3, 2 * GGML_TYPES[name].nbytes)).astype(np.uint8)
        writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType[name])
    writer.add_tensor("F32", VALUES)
    writer.add_tensor("F16", VALUES.astype(np.float16))
    writer.add_tensor("F64", VALUES.astype(np.float64))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data, reader = GgufData(path), gguf.GGUFReader(path)
    assert set(data.tensors) == set(LAYOUTS) - {"BF16", "Q1_0", "Q2_0"}
    for theirs in reader.tensors:
        assert data.shape(theirs.name) == tuple(reversed(theirs.shape.tolist()))
        assert data.raw(theirs.name).tobytes() == theirs.data.tobytes()
        if theirs.name != "F64":
            with np.errstate(all="ignore"):
                expected = gguf.quants.dequantize(theirs.data, theirs.tensor_type)
            assert np.array_equal(data.values(theirs.name), expected, equal_nan=True)
    assert np.array_equal(data.values("F64"), VALUES)


def test_the_bytes_are_mapped_and_cannot_be_written(small: Path) -> None:
    raw = GgufData(small).raw("w")
    assert raw.tobytes() == quantise(VALUES, "Q8_0").tobytes()
    assert isinstance(raw, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        raw[0] = 1


@pytest.mark.parametrize("piece_values", [1, 64, 129, 1000, 1 << 20])
def test_pieces_are_whole_rows_and_together_the_tensor(small: Path, piece_values: int) -> None:
    data = GgufData(small)
    pieces = list(data.pieces("w", piece_values=piece_values))
    assert {piece.shape[1] for piece in pieces} == {64}
    assert max(piece.size for piece in pieces) <= max(64, piece_values)
    whole = dequantise(quantise(VALUES, "Q8_0"), "Q8_0", VALUES.shape)
    assert np.array_equal(np.concatenate(pieces).reshape(VALUES.shape), whole)
    assert np.array_equal(data.values("w"), whole)


def test_float16_is_the_float32_rounded(small: Path) -> None:
    data = GgufData(small)
    found = data.values("w", np.float16)
    assert found.dtype == np.float16
    assert np.array_equal(found, data.values("w").astype(np.float16))
    with pytest.raises(DataError, match=r"small\.gguf: tensor large: the value 70000 is beyond float16"):
        data.values("large", np.float16)


def test_empty_and_single_tensors_are_read(small: Path) -> None:
    data = GgufData(small)
    assert data.values("none").shape == (0, 32)
    assert list(data.pieces("none")) == []
    assert data.values("one") == 7
    assert [piece.tolist() for piece in data.pieces("one")] == [[[7]]]


def test_a_name_that_is_not_there_and_a_type_that_is_not_read_are_named(small: Path) -> None:
    data = GgufData(small)
    with pytest.raises(DataError, match=r"small\.gguf: no tensor larg") as raised:
        data.raw("larg")
    assert raised.value.hint == "did you mean large?"
    with pytest.raises(DataError, match="tensor index: the type I32 is not read"):
        data.values("index")
    assert data.raw("index").view("<i4").tolist() == [0, 1, 2]


def test_a_piece_takes_the_memory_of_a_piece(tmp_path: Path) -> None:
    """Of 64 MiB as float32, in a file with a hole; a piece is 256 KiB."""
    path = damaged(tmp_path / "large.gguf", entry("w", (4096, 4096), 0, 12), data=0)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + 4096 * 16 * 144)
    data = GgufData(path)
    tracemalloc.start()
    try:
        rows = sum(len(piece) for piece in data.pieces("w", piece_values=1 << 16))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == 4096
    assert peak < 4 << 20


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([entry("a", (8,), 0), entry("b", (8,), 512)], "cut short: tensor b ends after the file"),
        ([entry("a", (16,), 0), entry("b", (8,), 32)], "tensors a and b lie on each other"),
        ([entry("b", (8,), 96), entry("a", (64,), 0)], "tensors a and b lie on each other"),
        ([entry("a", (8,), 0), entry("b", (8,), 0)], "lie on each other"),
        ([entry("a", (64,), 0), entry("n", (0,), 64), entry("b", (8,), 96)], "a and b lie on each other"),
        ([entry("a", (8,), 4)], "tensor a begins off the alignment of 32: at 4 of the data"),
        ([entry("a", (8,), 0), entry("a", (8,), 32)], "two tensors have the same name"),
        ([entry("a", (1 << 32, 1 << 32), 0)], "cut short: tensor a"),
        ([entry("a", (1 << 62, 4), 0)], "cut short: tensor a"),
        ([entry("a", (0, 1 << 62), 0)], r"tensor a has the dimensions \(0, 4611686018427387904\)"),
        ([entry("a", (0, 1 << 40, 1 << 40), 0)], "tensor a has the dimensions"),
        ([entry("a", (8,), (1 << 64) - 32)], "cut short: tensor a"),
    ],
)
def test_damage_is_named_before_anything_is_made(tmp_path: Path, entries: list[bytes], problem: str) -> None:
    path = damaged(tmp_path / "x.gguf", *entries)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=problem) as raised:
            GgufData(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(path) in raised.value.problem
    assert peak < 1 << 20


def test_a_file_that_was_cut_is_noticed(small: Path) -> None:
    header = read_gguf_header(small)
    with small.open("r+b") as file:
        file.truncate(header.data_offset + 100)
    with pytest.raises(DataError, match="cut short: tensor w"):
        GgufData(small)


def test_a_big_endian_file_is_refused_with_the_command_that_turns_it(tmp_path: Path) -> None:
    path = tmp_path / "big.gguf"
    path.write_bytes(b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(8))
    with pytest.raises(DataError, match="big-endian") as raised:
        GgufData(path)
    assert raised.value.hint.startswith("gguf-convert-endian")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.gguf: no such file"):
        GgufData(tmp_path / "none.gguf")


def test_a_model_in_parts_has_the_tensors_of_the_whole(small: Path, tmp_path: Path) -> None:
    whole = GgufData(small)
    files = split_gguf(_without_empty(small), tmp_path / "parts", 1)
    data = GgufData(files[0])
    assert (data.path, data.files, data.header.metadata["split.count"]) == (files[0], tuple(files), 3)
    assert {data.file(name) for name in data.tensors} == set(files)
    for name in data.tensors:
        assert data.shape(name) == whole.shape(name)
        assert np.array_equal(data.raw(name), whole.raw(name))
    assert np.array_equal(data.values("w"), whole.values("w"))
    (piece,) = data.pieces("one")
    assert piece == 7
    with pytest.raises(DataError, match=r"small-00002-of-00003\.gguf: tensor large: .*float16"):
        data.values("large", np.float16)
    with files[2].open("r+b") as file:
        file.truncate(files[2].stat().st_size - 32)
    with pytest.raises(DataError, match=r"small-00003-of-00003\.gguf: cut short: tensor one"):
        GgufData(files[0])


def _without_empty(path: Path) -> Path:
    """What the gguf package writes again: a tensor without values, and one of whole numbers, it does not."""
    data = GgufData(path)
    items = [
        GgufTensor(name, data.shape(name), data.info(name).type, lambda name=name: data.raw(name))  # type: ignore[misc]
        for name in ("w", "large", "one")
    ]
    stream = io.BytesIO()
    write_gguf(stream, {"general.architecture": "llama"}, items)
    whole = path.with_name("whole") / path.name
    whole.parent.mkdir()
    whole.write_bytes(stream.getvalue())
    return whole
