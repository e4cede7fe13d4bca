"""What pack reads: tokens, texts and chats, each in its place and with its errors."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmkit.errors import DataError, UsageError
from llmkit.formats.documents import list_files
from llmkit.formats.jsonl import BadLine, encode_line
from llmkit.formats.streams import open_output
from llmkit.tokens.boundary import Markers
from llmkit.tokens.config import PackConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.pack.input import PackJob, encode_packable, read_packable


def job(path: Path, tokenizer: Path | None, **fields: Any) -> PackJob:
    loaded = None if tokenizer is None else load_tokenizer(tokenizer)
    settings = {"markers": Markers(), "config": PackConfig(), "field": "text", "workers": 1} | fields
    return PackJob(inputs=[path], tokenizer=loaded, **settings)


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_bytes(b"".join(map(encode_line, records)))
    return path


def test_records_keep_their_order_whether_they_come_as_tokens_or_text(
    tmp_path: Path, byte_level_dir: Path
) -> None:
    path = write(
        tmp_path / "in.jsonl",
        *({"id": "a", "text": "x"}, {"id": "b", "tokens": [1]}, {"id": "c", "tokens": [2], "mask": [[0, 1]]}),
        *({"id": "d", "text": "y"}, {"id": "e", "text": "z", "tokens": [3]}),
    )
    made = job(path, byte_level_dir)
    found = list(encode_packable(read_packable(made, None), made))
    assert [one.id for one in found] == ["a", "b", "c", "d", "e"]
    assert [one.tokens.tolist() for one in found][1:3] == [[1], [2]]
    assert found[2].mask == [(0, 1)] and found[4].tokens.tolist() == [3]  # tokens win over text
    assert made.tokenizer is not None and found[0].tokens.tolist() == made.tokenizer.encode("x")


@pytest.mark.parametrize("name", ["tokens.zst", "tokens", "tokens.jl", "TOKENS.JSONL"])
def test_tokens_are_ids_whatever_their_file_is_called(
    tmp_path: Path, byte_level_dir: Path, name: str
) -> None:
    with open_output(tmp_path / name) as stream:
        stream.write(encode_line({"id": "a", "tokens": [1, 2]}) + encode_line({"id": "b", "tokens": [3]}))
    made = job(tmp_path / name, byte_level_dir)
    found = list(encode_packable(read_packable(made, None), made))
    assert [one.tokens.tolist() for one in found] == [[1, 2], [3]]


def test_text_that_looks_like_a_special_token_is_text(tmp_path: Path, byte_level_dir: Path) -> None:
    made = job(write(tmp_path / "in.jsonl", {"text": "<|endoftext|>"}), byte_level_dir)
    (found,) = encode_packable(read_packable(made, None), made)
    assert len(found.tokens) > 1


def test_another_key_can_hold_the_text(tmp_path: Path, byte_level_dir: Path) -> None:
    made = job(write(tmp_path / "in.jsonl", {"body": "x", "text": 5}), byte_level_dir, field="body")
    (found,) = encode_packable(read_packable(made, None), made)
    assert made.tokenizer is not None and found.tokens.tolist() == made.tokenizer.encode("x")


def test_text_without_a_tokenizer_is_wrong_usage_where_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", {"tokens": [1]}, {"id": "b", "text": "x"})
    with pytest.raises(UsageError, match=r'in\.jsonl:2: .*no "tokens"; found: id, text'):
        list(read_packable(job(path, None), None))
    (tmp_path / "plain.txt").write_text("x")
    with pytest.raises(UsageError, match=r"plain\.txt: text needs a tokenizer"):
        list(read_packable(job(tmp_path / "plain.txt", None), None))


def test_ids_beyond_the_vocabulary_are_bad_data_or_a_bad_line(tmp_path: Path, byte_level_dir: Path) -> None:
    path = write(tmp_path / "in.jsonl", {"id": "a", "tokens": [599]}, {"id": "b", "tokens": [600]})
    made, bad = job(path, byte_level_dir), []
    with pytest.raises(DataError, match=r"in\.jsonl:2: id 600 is beyond the tokenizer's 600 ids"):
        list(read_packable(made, None))
    kept = list(read_packable(made, bad.append))
    assert [document.id for document in kept] == ["a"]
    assert [(one.number, type(one)) for one in bad] == [(2, BadLine)]


def test_files_of_ids_stand_among_others_and_an_index_is_none_of_them(
    tmp_path: Path, byte_level_dir: Path
) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    end = tokenizer.eos_id
    assert end is not None
    np.array([5, 6, end, 7], dtype=np.uint16).tofile(tmp_path / "a.bin")
    lines = write(tmp_path / "b.jsonl", {"tokens": [8]})
    made = replace(job(tmp_path / "a.bin", byte_level_dir), inputs=[tmp_path / "a.bin", lines])
    found = [one.tokens.tolist() for one in encode_packable(read_packable(made, None), made)]
    assert found == [[5, 6], [7], [8]]
    bare = replace(made, tokenizer=None)
    whole = [one.tokens.tolist() for one in encode_packable(read_packable(bare, None), bare)]
    assert whole == [[5, 6, end, 7], [8]]
    np.array([600], dtype=np.uint16).tofile(tmp_path / "a.bin")
    with pytest.raises(DataError, match=r"a\.bin\[0\]: id 600 is beyond the tokenizer's 600 ids"):
        list(read_packable(made, None))


def test_a_folder_of_megatrons_pairs_is_read_by_its_ids(tmp_path: Path) -> None:
    np.array([1, 2, 3], dtype=np.int32).tofile(tmp_path / "m.bin")
    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 4, 2, 3)
    (tmp_path / "m.idx").write_bytes(head + struct.pack("<2i2q3q", 2, 1, 0, 8, 0, 1, 2))
    made = replace(job(tmp_path, None), inputs=list_files([tmp_path]))
    assert [one.tokens.tolist() for one in encode_packable(read_packable(made, None), made)] == [[1, 2], [3]]
    alone = replace(made, inputs=[tmp_path / "m.idx"])
    with pytest.raises(UsageError, match=r"the index of m\.bin, which has the ids"):
        list(read_packable(alone, None))
