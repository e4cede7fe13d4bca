"""GGUF files, written: llama.cpp's own Python package reads them, and writes the same bytes."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.formats.gguf.blocks import quantise
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.formats.gguf.write import Buffer, GgufTensor, gguf_nbytes, write_gguf

VALUES = np.random.default_rng(0).standard_normal((2, 3, 64)).astype(np.float32)
METADATA: dict[str, MetadataValue] = {
    "general.architecture": "llama",
    "llama.block_count": Typed("u32", 2),
    "llama.rope.freq_base": Typed("f32", 10000.0),
    "general.parameter_count": Typed("u64", 1 << 40),
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.ggml.tokens": [f"▁token {n}" for n in range(3000)],
    "tokenizer.ggml.scores": Typed("f32", [-float(n) for n in range(3000)]),
    "tokenizer.ggml.token_type": Typed("i32", [1, 3, 6]),
}


@pytest.fixture(scope="module")
def gguf() -> ModuleType:
    return pytest.importorskip("gguf", reason="the gguf package, which is compared with, is not installed")


def tensor(name: str, shape: tuple[int, ...], type_name: str, data: Any) -> GgufTensor:
    return GgufTensor(name, shape, type_name, lambda: data)


def tensors() -> list[GgufTensor]:
    return [
        tensor("token_embd.weight", (2, 3, 64), "Q8_0", quantise(VALUES, "Q8_0")),
        tensor("blk.0.attn_norm.weight", (5,), "F32", np.arange(5, dtype=np.float32)),
        tensor("blk.0.ffn.weight", (3, 64), "F16", VALUES[0].astype(np.float16)),
        tensor("blk.0.bf16.weight", (3, 64), "BF16", quantise(VALUES[1], "BF16").tobytes()),
        tensor("blk.0.index", (7,), "I32", np.arange(7, dtype=np.int32)),
    ]


def written(metadata: dict[str, MetadataValue], items: list[GgufTensor]) -> bytes:
    stream = io.BytesIO()
    assert write_gguf(stream, metadata, items) == gguf_nbytes(metadata, items) == stream.tell()
    return stream.getvalue()


def test_llama_cpps_reader_finds_what_was_written(gguf: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(written(METADATA, tensors()))
    reader = gguf.GGUFReader(path)
    found = {key: reader.fields[key].contents() for key in METADATA}
    assert found == {
        key: value.value if isinstance(value, Typed) else value for key, value in METADATA.items()
    }
    assert [reader.fields[key].types[0].name for key in METADATA] == [
        *("STRING", "UINT32", "FLOAT32", "UINT64", "BOOL", "ARRAY", "ARRAY", "ARRAY")
    ]
    for theirs, ours in zip(reader.tensors, tensors(), strict=True):
        assert (theirs.name, theirs.tensor_type.name) == (ours.name, ours.type)
        assert tuple(theirs.shape.tolist()) == ours.shape[::-1]
        assert theirs.data_offset % 32 == 0
        content = ours.data()
        assert theirs.data.tobytes() == (
            content if isinstance(content, bytes) else np.asarray(content).tobytes()
        )


def test_the_bytes_are_those_that_llama_cpps_writer_writes(gguf: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "theirs.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 2)
    writer.add_float32("llama.rope.freq_base", 10000.0)
    writer.add_uint64("general.parameter_count", 1 << 40)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    writer.add_array("tokenizer.ggml.tokens", METADATA["tokenizer.ggml.tokens"])
    writer.add_array("tokenizer.ggml.scores", [-float(n) for n in range(3000)])
    writer.add_array("tokenizer.ggml.token_type", [1, 3, 6])
    kinds = gguf.GGMLQuantizationType
    for item in tensors():
        content = item.data()
        if item.type in ("Q8_0", "BF16"):
            rows = np.frombuffer(content, np.uint8).reshape(*item.shape[:-1], -1)
            writer.add_tensor(item.name, rows, raw_dtype=kinds[item.type])
        else:
            writer.add_tensor(item.name, content)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert written(METADATA, tensors()) == path.read_bytes()


def test_our_reader_gives_back_every_value_and_type(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    content = written(METADATA, tensors())
    path.write_bytes(content)
    header = read_gguf_header(path, keep_arrays=True)
    assert [(t.name, t.dims[::-1], t.type) for t in header.tensors] == [
        (t.name, t.shape, t.type) for t in tensors()
    ]
    typed = {
        key: Typed(header.kinds[key].removesuffix("[]"), value) for key, value in header.metadata.items()
    }
    assert written(typed, tensors()) == content


def test_the_alignment_that_the_metadata_names_is_kept(gguf: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(written({"general.alignment": Typed("u32", 128)}, tensors()))
    assert path.stat().st_size % 128 == 0
    reader = gguf.GGUFReader(path)
    assert {t.data_offset % 128 for t in reader.tensors} == {0}
    assert reader.tensors[1].data.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "value", [Typed("u32", 24), Typed("u32", 4), Typed("u64", 32), "32", Typed("u32", 0)]
)
def test_an_alignment_that_is_no_power_of_two_from_eight_up_is_refused(value: MetadataValue) -> None:
    with pytest.raises(DataError, match=r"general\.alignment is"):
        gguf_nbytes({"general.alignment": value}, [])


def test_a_tensor_is_asked_for_once_and_only_when_the_ones_before_are_written() -> None:
    stream, asked = io.BytesIO(), []

    def lazy(name: str) -> GgufTensor:
        def data() -> bytes:
            asked.append((name, stream.tell()))
            return bytes(100)

        return GgufTensor(name, (25,), "F32", data)

    items = [lazy("a"), lazy("b"), lazy("c")]
    header = gguf_nbytes({}, items) - 3 * 128
    assert asked == []
    write_gguf(stream, {}, items)
    assert asked == [("a", header), ("b", header + 128), ("c", header + 256)]


def test_a_tensor_in_pieces_has_the_bytes_of_the_whole() -> None:
    def pieces() -> Iterator[Buffer]:
        yield VALUES[0]
        yield VALUES[1, :1].tobytes()
        yield memoryview(VALUES[1, 1:])

    whole = tensor("w", (2, 3, 64), "F32", VALUES)
    assert written({}, [GgufTensor("w", (2, 3, 64), "F32", pieces)]) == written({}, [whole])


def test_an_array_is_written_in_the_order_of_its_indices() -> None:
    turned = np.arange(12, dtype=np.float32).reshape(3, 4).T
    assert written({}, [tensor("w", (4, 3), "F32", turned)]).endswith(turned.tobytes().ljust(64, b"\0"))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (bytes(99), "tensor w gave 99 bytes of 100"),
        (bytes(101), "tensor w gave 101 bytes or more of 100"),
        ([bytes(60), bytes(60)], "tensor w gave 120 bytes or more of 100"),
        (np.zeros(25, np.int32), "w is F32 and gave an array of int32"),
        (np.zeros(25, ">f4"), "w is F32 and gave an array of >f4"),
    ],
)
def test_data_other_than_announced_is_a_bug(data: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        write_gguf(io.BytesIO(), {}, [tensor("w", (25,), "F32", data)])


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([tensor("w", (33,), "Q8_0", b"")], "tensor w: a row of 33 does not fill blocks of Q8_0"),
        ([tensor("w", (1, 2, 1, 2, 1), "F32", b"")], "tensor w has 5 dimensions"),
        ([tensor("w", (1,), "F32", b""), tensor("w", (1,), "F32", b"")], "two tensors are named w"),
        ([tensor("w" * 64, (1,), "F32", b"")], "a name of 64 bytes"),
        ([tensor("", (1,), "F32", b"")], "a name of 0 bytes"),
        ([tensor("w", (1,), "Q4K", b"")], "tensor w: no ggml type 'Q4K'"),
    ],
)
def test_what_a_file_cannot_have_is_refused_before_anything_is_written(
    items: list[GgufTensor], problem: str
) -> None:
    stream = io.BytesIO()
    with pytest.raises(DataError, match=problem):
        write_gguf(stream, {}, items)
    assert stream.getvalue() == b""


def test_an_empty_tensor_and_one_without_dimensions_are_written(tmp_path: Path) -> None:
    items = [tensor("none", (0, 32), "Q8_0", b""), tensor("one", (), "F32", np.float32([7]))]
    path = tmp_path / "a.gguf"
    path.write_bytes(written({}, items))
    assert [(t.dims, t.nbytes) for t in read_gguf_header(path).tensors] == [((32, 0), 0), ((), 4)]
