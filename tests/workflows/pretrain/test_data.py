"""What a run learns from: shards that belong together, documents packed once, each input under its digest."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.digest import digest_file
from llmkit.formats.provenance import Invocation
from llmkit.formats.shards import ShardFolder
from llmkit.progress import SILENT
from llmkit.tokens.config import PackConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.pretrain.data import (
    Packing,
    PretrainData,
    check_tokenizer,
    is_shard_folder,
    open_data,
    require,
    text_sizes,
)

TEXTS = [{"id": "a", "text": "the cat sat " * 30}, {"id": "b", "text": "on the mat " * 30}]


@pytest.fixture
def packing(byte_level_dir: Path, tmp_path: Path) -> Packing:
    """Rows of 16 targets by the small byte-level tokenizer."""
    tokenizer = load_tokenizer(byte_level_dir)
    return Packing(PackConfig(seq_len=16), byte_level_dir, tokenizer, tmp_path / "cache")


@pytest.fixture
def open_paths(packing: Packing) -> Callable[..., PretrainData]:
    """Open data without further ado."""

    def call(*paths: Path, seq_len: int | None = None, packing: Packing = packing) -> PretrainData:
        return open_data(paths, packing, seq_len=seq_len, invocation=Invocation("pretrain"), progress=SILENT)

    return call


def _tokens(data: PretrainData) -> list[list[int]]:
    return data.rows.read(np.arange(len(data.rows))).tokens.tolist()


def test_a_shard_folder_is_opened_as_it_is(
    pack_records: Callable[..., Path], open_paths: Callable[..., PretrainData], packing: Packing
) -> None:
    folder = pack_records("shards", *TEXTS)
    data = open_paths(folder)
    index = json.loads((folder / "index.json").read_text())
    assert _tokens(data) == ShardFolder.open(folder).read(range(index["rows"])).tokens.tolist()
    assert (data.seq_len, data.vocab_size, data.tokenizer_sha256) == (
        63,
        index["vocab_size"],
        packing.tokenizer.sha256 if packing.tokenizer else None,
    )
    assert data.inputs == {"shards": digest_file(folder / "index.json")}
    text_bytes = sum(len(one["text"]) for one in TEXTS)
    assert data.bytes_per_token == pytest.approx(text_bytes / index["tokens"])
    assert data.special_ids == {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    assert not packing.cache.exists()


def test_several_folders_are_one_after_the_other_and_each_is_in_the_digest(
    pack_records: Callable[..., Path], open_paths: Callable[..., PretrainData]
) -> None:
    one, two = pack_records("one", TEXTS[0]), pack_records("two", TEXTS[1])
    both = open_paths(one, two)
    assert _tokens(both) == _tokens(open_paths(one)) + _tokens(open_paths(two))
    digests = {data.sha256 for data in (both, open_paths(two, one), open_paths(one), open_paths(two))}
    assert len(digests) == 4  # the order decides what is learnt when
    assert both.inputs.keys() == {"one", "two"}


def test_folders_of_one_name_are_told_apart(
    pack_records: Callable[..., Path], open_paths: Callable[..., PretrainData], tmp_path: Path
) -> None:
    one, two = pack_records("one", TEXTS[0]), pack_records("two", TEXTS[1])
    for name, folder in (("x", one), ("y", two)):
        (tmp_path / name).mkdir()
        folder.rename(tmp_path / name / "shards")
    first, second = tmp_path / "x" / "shards", tmp_path / "y" / "shards"
    both = open_paths(first, second)
    assert both.inputs == {
        "shards": digest_file(first / "index.json"),
        "shards (2)": digest_file(second / "index.json"),
    }
    assert both.sha256 != open_paths(second).sha256  # else another first folder would be no other run
    assert open_paths(first, first).sha256 != open_paths(first).sha256


def test_documents_are_packed_once_and_found_again_by_what_they_are(
    open_paths: Callable[..., PretrainData], packing: Packing, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("the cat sat on the mat " * 40)
    first = open_paths(tmp_path / "a.txt")
    assert (first.seq_len, list(packing.cache.iterdir())) == (16, [packing.cache / next(iter(first.inputs))])
    before = (next(packing.cache.iterdir()) / "index.json").stat().st_mtime_ns
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    assert open_paths(tmp_path / "b.txt").sha256 == first.sha256
    assert (next(packing.cache.iterdir()) / "index.json").stat().st_mtime_ns == before
    (tmp_path / "b.txt").write_text("the dog sat on the mat " * 40)
    assert open_paths(tmp_path / "b.txt").sha256 != first.sha256
    assert len(list(packing.cache.iterdir())) == 2


def test_the_same_bytes_read_as_records_are_other_documents(
    open_paths: Callable[..., PretrainData], tmp_path: Path
) -> None:
    content = b"".join(msgspec.json.encode(one) + b"\n" for one in TEXTS)
    for name in ("d.txt", "d.jsonl"):
        (tmp_path / name).write_bytes(content)
    records, text = open_paths(tmp_path / "d.jsonl"), open_paths(tmp_path / "d.txt")
    assert records.sha256 != text.sha256
    assert _tokens(records) != _tokens(text)


@pytest.mark.parametrize("change", [{"seq_len": 8}, {"seed": 1}, {"boundary": "none"}, {"long": "drop"}])
def test_other_packing_is_other_data(
    open_paths: Callable[..., PretrainData], packing: Packing, tmp_path: Path, change: dict[str, Any]
) -> None:
    (tmp_path / "d.jsonl").write_bytes(b"".join(b'{"text": "the cat %d"}\n' % number for number in range(90)))
    other = Packing(
        PackConfig(**{"seq_len": 16, **change}), packing.tokenizer_path, packing.tokenizer, packing.cache
    )
    assert open_paths(tmp_path / "d.jsonl", packing=other).sha256 != open_paths(tmp_path / "d.jsonl").sha256


@pytest.mark.parametrize("content", [b"the cat sat " * 50, b'{"text": "the cat sat the cat sat"}\n' * 20])
def test_stdin_is_text_or_records_by_its_first_byte_and_leaves_nothing_behind(
    open_paths: Callable[..., PretrainData],
    packing: Packing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    data = open_paths(Path("-"))
    named = tmp_path / ("d.jsonl" if content.startswith(b"{") else "d.txt")
    named.write_bytes(content)
    assert data.sha256 == open_paths(named).sha256
    assert [path.name for path in packing.cache.iterdir()] == list(data.inputs)


def test_an_array_on_stdin_is_no_text_to_train_on(
    open_paths: Callable[..., PretrainData], packing: Packing, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b'[{"text": "the cat"}]'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    with pytest.raises(DataError, match="stdin: one JSON array"):
        open_paths(Path("-"))
    assert not list(packing.cache.iterdir())


@pytest.mark.parametrize(
    ("content", "problem", "hint"),
    [
        (b'{"text": "the cat"}\n{bad\n', r"stdin:2: not a JSON object", "with llmkit pack --skip-bad"),
        (b"\xff\xfe\x80abc", "stdin:1: not UTF-8", "-t utf-8 FILE"),
        (b"", "stdin: no tokens to pack", "name files with text"),
    ],
)
def test_what_is_wrong_on_stdin_is_told_of_stdin_and_not_of_a_file_that_is_gone(
    open_paths: Callable[..., PretrainData],
    packing: Packing,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    problem: str,
    hint: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    with pytest.raises(DataError, match=f"^{problem}") as caught:
        open_paths(Path("-"))
    assert hint in caught.value.hint and str(packing.cache) not in caught.value.hint


def test_a_malformed_line_of_a_pipe_is_told_of_the_pipe(
    open_paths: Callable[..., PretrainData], piped: Callable[[bytes], Path]
) -> None:
    pipe = piped(b'{"text": "the cat"}\n{bad\n')
    with pytest.raises(DataError, match=f"^{pipe}:2: not a JSON object"):
        open_paths(pipe)


def test_pipes_are_read_once_and_as_the_same_files_are(
    open_paths: Callable[..., PretrainData],
    packing: Packing,
    tmp_path: Path,
    piped: Callable[[bytes], Path],
) -> None:
    contents = [b"the cat sat " * 50, b'{"text": "the cat sat the cat sat"}\n' * 20]
    files = [tmp_path / "a.txt", tmp_path / "b.jsonl"]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    data = open_paths(*[piped(content) for content in contents])
    assert data.sha256 == open_paths(*files).sha256
    assert [path.name for path in packing.cache.iterdir()] == list(data.inputs)


def test_what_does_not_belong_together_is_refused(
    pack_records: Callable[..., Path],
    open_paths: Callable[..., PretrainData],
    packing: Packing,
    byte_tokenizer: Tokenizer,
    tmp_path: Path,
) -> None:
    shards, short = pack_records("shards", *TEXTS), pack_records("short", *TEXTS, seq_len=31)
    (tmp_path / "d.txt").write_text("x")
    with pytest.raises(UsageError, match=r"d\.txt: documents beside shards"):
        open_paths(shards, tmp_path / "d.txt")
    with pytest.raises(UsageError, match="shards: rows of 63 tokens, where --seq-len or --data has 31"):
        open_paths(shards, seq_len=31)
    assert open_paths(shards, seq_len=63).seq_len == 63
    with pytest.raises(DataError, match=r"short: rows of 31 tokens .*found in .*shards: 63"):
        open_paths(shards, short)
    other = Packing(packing.config, tmp_path, byte_tokenizer, packing.cache)
    with pytest.raises(DataError, match="packed with another tokenizer"):
        open_paths(shards, packing=other)
    without = Packing(packing.config, None, None, packing.cache)
    with pytest.raises(UsageError, match=r"d\.txt: documents need a tokenizer"):
        open_paths(tmp_path / "d.txt", packing=without)
    assert open_paths(shards, packing=without).tokenizer_sha256 is not None
    with pytest.raises(MissingError, match=r"absent: no such file"):
        open_paths(tmp_path / "absent")


def _data(bytes_per_token: float | None = None, sha256: str | None = None) -> PretrainData:
    return PretrainData([], 8, 300, "", sha256, bytes_per_token, {}, {})  # type: ignore[arg-type]


def test_each_id_stands_for_the_bytes_of_its_text(byte_tokenizer: Tokenizer) -> None:
    # 256 bytes, three special tokens, and rows of the embedding that no token has
    sizes = text_sizes(byte_tokenizer, _data(bytes_per_token=9.0), 264)
    assert sizes is not None and sizes.behind.tolist() == [1] * 256 + [0] * 8
    assert text_sizes(byte_tokenizer, _data(), 100).behind.tolist() == [1] * 100  # type: ignore[union-attr]


def test_without_a_tokenizer_each_id_stands_for_the_mean_or_for_nothing_known() -> None:
    sizes = text_sizes(None, _data(bytes_per_token=3.25), 5)
    assert sizes is not None and sizes.behind.tolist() == [3.25] * 5
    assert text_sizes(None, _data(), 5) is None


def test_only_the_datas_own_tokenizer_will_do_where_it_is_known(tmp_path: Path) -> None:
    check_tokenizer(tmp_path, "a" * 64, _data(sha256="a" * 64))
    check_tokenizer(tmp_path, "a" * 64, _data(sha256=None))
    with pytest.raises(DataError, match=r"found sha256 aaaaaaaaaaaa, the data has bbbbbbbbbbbb"):
        check_tokenizer(tmp_path, "a" * 64, _data(sha256="b" * 64))


def test_a_path_has_to_be_there(tmp_path: Path) -> None:
    assert require(tmp_path) == tmp_path
    assert not is_shard_folder(tmp_path)
    with pytest.raises(MissingError, match="absent: no such file or folder"):
        require(tmp_path / "absent")
