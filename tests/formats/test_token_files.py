"""Files of ids, written here as nanoGPT, llm.c and Megatron write them, and what is wrong with bad ones."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.formats import token_files
from llmkit.formats.token_files import index_of, is_token_file, open_token_file

EOT = 9


def nanogpt(path: Path, ids: Sequence[int]) -> Path:
    """data/openwebtext/prepare.py: a memmap of uint16."""
    np.array(ids, dtype=np.uint16).tofile(path)
    return path


def llm_c(path: Path, ids: Sequence[int], *, llama: bool = False) -> Path:
    """dev/data/data_common.py, write_datafile."""
    header = np.zeros(256, dtype=np.int32)
    header[:3] = (20240801, 7, len(ids)) if llama else (20240520, 1, len(ids))
    path.write_bytes(header.tobytes() + np.array(ids, np.uint32 if llama else np.uint16).tobytes())
    return path


def megatron(
    path: Path, documents: Sequence[Sequence[Sequence[int]]], code: int = 4, kind: str = "i4"
) -> Path:
    """megatron/core/datasets/indexed_dataset.py, _IndexWriter.write; documents of sequences of ids."""
    sequences = [sequence for document in documents for sequence in document]
    path.write_bytes(b"".join(np.array(one, kind).tobytes() for one in sequences))
    lengths = np.array([len(one) for one in sequences], np.int32)
    pointers = (np.cumsum([0, *lengths[:-1]]) * np.dtype(kind).itemsize).astype(np.int64)
    firsts = np.cumsum([0, *(len(document) for document in documents)]).astype(np.int64)
    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, len(sequences), len(firsts))
    path.with_suffix(".idx").write_bytes(head + lengths.tobytes() + pointers.tobytes() + firsts.tobytes())
    return path


def read(path: Path, end: int | None = None) -> list[list[int]]:
    return [document.tokens.tolist() for document in open_token_file(path).documents(end)]


def test_nanogpts_ids_end_their_documents_with_the_id_between_them(tmp_path: Path) -> None:
    path = nanogpt(tmp_path / "train.bin", [1, 2, EOT, 3, EOT, EOT, 65535])
    assert read(path, EOT) == [[1, 2], [3], [65535]]
    assert read(path) == [[1, 2, EOT, 3, EOT, EOT, 65535]]
    first = next(open_token_file(path).documents(EOT))
    assert (first.id, first.tokens.dtype) == (f"{path}[0]", np.uint32)


def test_llm_cs_ids_begin_their_documents_with_it(tmp_path: Path) -> None:
    path = llm_c(tmp_path / "gpt2.bin", [EOT, 1, 2, EOT, 3])
    assert read(path, EOT) == [[1, 2], [3]]
    path = llm_c(tmp_path / "llama3.bin", [128_000, 1, 128_000, 2], llama=True)
    assert read(path, 128_000) == [[1], [2]]


@pytest.mark.parametrize(("code", "kind"), [(1, "u1"), (3, "i2"), (4, "i4"), (5, "i8"), (8, "u2")])
def test_megatrons_documents_are_those_of_its_index(tmp_path: Path, code: int, kind: str) -> None:
    documents = [[[1, 2], [3]], [[4, 5, EOT]], [[]], [[6]]]
    path = megatron(tmp_path / "text_document.bin", documents, code, kind)
    assert read(path, EOT) == [[1, 2, 3], [4, 5, EOT], [6]]  # what the index parts, no id does
    assert index_of(path) == tmp_path / "text_document.idx" and is_token_file(path)


def test_what_nothing_parts_is_cut_to_fit_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_files, "PIECE_IDS", 3)
    path = nanogpt(tmp_path / "train.bin", [1, 2, 3, 4, 5, EOT, 6, 7])
    assert read(path) == [[1, 2, 3], [4, 5, EOT], [6, 7]]
    assert read(path, EOT) == [[1, 2, 3], [4, 5], [6, 7]]


def test_an_empty_file_has_no_documents(tmp_path: Path) -> None:
    assert read(nanogpt(tmp_path / "empty.bin", [])) == []


def _cut(path: Path, size: int) -> Path:
    path.write_bytes(path.read_bytes()[:size])
    return path


def test_files_that_were_cut_short_are_bad_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"odd number of bytes \(5\)"):
        read(_cut(nanogpt(tmp_path / "a.bin", [1, 2, 3]), 5))
    with pytest.raises(DataError, match=r"3 ids cut short \(found 2 ids\)"):
        read(_cut(llm_c(tmp_path / "b.bin", [1, 2, 3]), 1024 + 4))
    with pytest.raises(DataError, match=r"a header cut short"):
        read(_cut(llm_c(tmp_path / "c.bin", [1, 2, 3]), 100))
    path = megatron(tmp_path / "d.bin", [[[1, 2]], [[3]]])
    with pytest.raises(DataError, match=r"d\.bin: 8 bytes, but d\.idx tells of 3 ids"):
        read(_cut(path, 8))
    _cut(path.with_suffix(".idx"), 60)
    with pytest.raises(DataError, match=r"d\.idx: 60 bytes, but its counts come to 82"):
        read(path)


def test_versions_and_types_that_are_not_known_are_named(tmp_path: Path) -> None:
    path = llm_c(tmp_path / "a.bin", [1])
    content = bytearray(path.read_bytes())
    content[4] = 9
    path.write_bytes(content)
    with pytest.raises(DataError, match="version 9 of 20240520 is not known"):
        read(path)
    path = megatron(tmp_path / "b.bin", [[[1]]], code=7, kind="f4")
    with pytest.raises(DataError, match="version 1 with type 7 is not known"):
        read(path)
    path.with_suffix(".idx").write_bytes(b"something else")
    with pytest.raises(DataError, match="no index of Megatron's"):
        read(path)


def test_negative_ids_are_bad_data_in_their_document(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.bin\[1\]: ids outside 0 … 2\^32-1 \(found -1 to 2\)"):
        read(megatron(tmp_path / "a.bin", [[[1]], [[2, -1]]]))


def test_modes_of_sequences_are_refused_where_they_say_anything(tmp_path: Path) -> None:
    path = megatron(tmp_path / "a.bin", [[[1]], [[2]]])
    index = path.with_suffix(".idx")
    index.write_bytes(index.read_bytes() + b"\x00\x00")
    assert read(path) == [[1], [2]]
    index.write_bytes(index.read_bytes()[:-2] + b"\x00\x01")
    with pytest.raises(DataError, match="its counts come to"):
        read(path)
