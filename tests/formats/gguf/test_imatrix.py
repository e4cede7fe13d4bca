"""Importance matrices of llama.cpp: both forms read, and ours read by the `gguf` package."""

import struct
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter

from llmkit.errors import DataError, MissingError
from llmkit.formats.gguf.imatrix import Importance, read_imatrix, write_imatrix

DENSE, STACK = "blk.0.attn_q.weight", "blk.0.ffn_down_exps.weight"


def dat(*entries: tuple[str, int, list[float]], tail: bytes = b"") -> bytes:
    """As llama-imatrix wrote it before GGUF."""
    content = struct.pack("<i", len(entries))
    for name, calls, values in entries:
        content += struct.pack("<i", len(name)) + name.encode()
        content += struct.pack(f"<ii{len(values)}f", calls, len(values), *values)
    return content + tail


@pytest.mark.parametrize("tail", [b"", struct.pack("<ii", 7, 8) + b"wiki.txt"])
def test_an_old_file_has_means_times_the_calls(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "imatrix.dat"
    path.write_bytes(dat((DENSE, 4, [4.0, 8.0]), (STACK, 2, [2.0, 6.0, 1.0, 0.0]), tail=tail))
    found = read_imatrix(path)
    assert found[DENSE].squares.tolist() == [[1.0, 2.0]]
    assert found[STACK].squares.tolist() == [[1.0, 3.0, 0.5, 0.0]]


def test_a_gguf_file_has_sums_and_counts_and_ones_where_nothing_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "imatrix.gguf"
    writer = GGUFWriter(path, arch="")
    writer.add_string("general.type", "imatrix")
    writer.add_tensor(f"{STACK}.in_sum2", np.array([[2.0, 6.0], [9.0, 9.0]], np.float32))
    writer.add_tensor(f"{STACK}.counts", np.array([[2.0], [0.0]], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = read_imatrix(path)
    assert found[STACK].squares.tolist() == [[1.0, 3.0], [1.0, 1.0]]
    assert found[STACK].counts.tolist() == [2.0, 0.0]


def test_what_is_written_is_read_by_gguf_as_llama_quantize_asks(tmp_path: Path) -> None:
    path = tmp_path / "imatrix.gguf"
    entries = {
        STACK: Importance(np.array([[1.0, 3.0], [1.0, 1.0]], np.float32), np.array([2.0, 0.0], np.float32)),
        DENSE: Importance(np.array([[0.5, 0.25]], np.float32), np.array([8.0], np.float32)),
    }
    with path.open("wb") as stream:
        write_imatrix(stream, entries, datasets=["corpus.txt"], chunks=3, chunk_size=512)
    reader = GGUFReader(path)
    told = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF")}
    assert told == {
        "general.type": "imatrix",
        "imatrix.datasets": ["corpus.txt"],
        "imatrix.chunk_count": 3,
        "imatrix.chunk_size": 512,
    }
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    assert list(tensors) == [f"{name}.{what}" for name in (DENSE, STACK) for what in ("in_sum2", "counts")]
    assert tensors[f"{DENSE}.in_sum2"].tolist() == [[4.0, 2.0]]
    assert tensors[f"{STACK}.in_sum2"].tolist() == [[2.0, 6.0], [0.0, 0.0]]
    assert tensors[f"{STACK}.counts"].tolist() == [[2.0], [0.0]]
    again = read_imatrix(path)
    assert all(np.array_equal(again[name].squares, one.squares) for name, one in entries.items())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0\0",
        b"some text that is no importance matrix at all",
        dat((DENSE, 4, [4.0, 8.0]))[:-3],
        dat((DENSE, 1, [float("nan")])),
        dat((DENSE, 1, [-1.0])),
        struct.pack("<ii", 1, -5),
        struct.pack("<ii4sii", 1, 4, b"\xff\xfe\xfd\xfc", 1, 0),
    ],
)
def test_what_is_no_importance_matrix_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "imatrix.dat"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"imatrix\.dat"):
        read_imatrix(path)


def test_a_model_is_no_importance_matrix_and_a_missing_file_is_named(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "model.gguf", arch="llama")
    writer.add_tensor("output.weight", np.zeros((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(DataError, match="no importance matrix"):
        read_imatrix(tmp_path / "model.gguf")
    with pytest.raises(MissingError, match=r"none\.gguf: no such file"):
        read_imatrix(tmp_path / "none.gguf")
