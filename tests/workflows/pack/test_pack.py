"""Documents to shards and back: nothing lost, the same bytes twice, gone on with after a kill."""

import json
import signal
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.jsonl import encode_line
from llmkit.formats.provenance import Invocation
from llmkit.formats.shards import ShardFolder
from llmkit.progress import SILENT
from llmkit.tokens.config import PackConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.pack import shards
from llmkit.workflows.pack.pack import PackReport, PackSources, pack_files

TEXTS = [f"Document {n}: " + "the quick brown fox jumps over the lazy dog. " * (n % 13) for n in range(60)]
CONFIG = PackConfig(seq_len=31, boundary="none")


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    path = tmp_path / "docs.jsonl"
    lines = [{"id": f"d{n}", "text": text, "source": "test"} for n, text in enumerate(TEXTS)]
    path.write_bytes(b"".join(map(encode_line, lines)))
    return path


@pytest.fixture
def pack(tmp_path: Path, byte_level_dir: Path) -> Callable[..., PackReport]:
    """Pack into `tmp_path/name`."""

    def call(name: str, *inputs: Path, config: PackConfig = CONFIG, **sources: Any) -> PackReport:
        settings = {"inputs": inputs, "out": tmp_path / name, "tokenizer": byte_level_dir} | sources
        return pack_files(PackSources(**settings), config, invocation=Invocation("pack"), progress=SILENT)

    return call


def documents_of(folder: Path) -> dict[int, list[int]]:
    """Every document put together again from its rows."""
    shards = ShardFolder.open(folder)
    found: dict[int, list[tuple[int, list[int]]]] = {}
    first = 0
    for shard in shards.shards:
        for row in range(shard.header.rows):
            notes, rows = shard.notes.take(np.array([row])), shards.read([first + row])
            for segment, (document, offset) in enumerate(zip(notes.documents, notes.offsets, strict=True)):
                ids = rows.tokens[0][rows.segments[0] == segment].tolist()
                found.setdefault(int(document), []).append((int(offset), ids))
        first += shard.header.rows
    whole = {}
    for document, parts in found.items():
        parts.sort()
        assert [offset for offset, _ in parts] == np.cumsum([0, *(len(ids) for _, ids in parts)])[
            :-1
        ].tolist()
        whole[document] = [one for _, ids in parts for one in ids]
    return dict(sorted(whole.items()))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def expected(byte_level_dir: Path) -> list[list[int]]:
    backend = tokenizers.Tokenizer.from_file(str(byte_level_dir / "tokenizer.json"))
    return [backend.encode(text).ids for text in TEXTS]


@pytest.mark.parametrize("strategy", ["best-fit", "greedy", "concat"])
def test_every_token_comes_back_in_order(
    pack: Callable[..., PackReport], documents: Path, tmp_path: Path, expected: list[list[int]], strategy: Any
) -> None:
    report = pack("out", documents, config=replace(CONFIG, strategy=strategy, shard_tokens=400))
    assert report.shards > 2 and report.lost_tokens == 0
    assert documents_of(tmp_path / "out") == dict(enumerate(expected))
    assert report.tokens == sum(map(len, expected)) and report.documents == 60
    assert report.rows * 32 == report.tokens + report.padding_tokens
    assert report.long_documents == sum(len(ids) > 32 for ids in expected)
    assert ShardFolder.open(tmp_path / "out").verify() == []


def test_markers_are_put_around_and_their_ids_kept_in_the_index(
    pack: Callable[..., PackReport], documents: Path, tmp_path: Path, expected: list[list[int]]
) -> None:
    report = pack("out", documents, config=replace(CONFIG, boundary="auto"))
    index = ShardFolder.open(tmp_path / "out").index
    assert report.boundary == index.boundary == "both" and index.bos_id == index.eos_id is not None
    assert documents_of(tmp_path / "out") == {
        number: [index.bos_id, *ids, index.eos_id] for number, ids in enumerate(expected)
    }
    assert index.bytes == sum(len(text.encode()) for text in TEXTS)  # markers stand for no text


@pytest.mark.parametrize("boundary", ["auto", "none", "eos"])
def test_the_bytes_of_the_index_are_those_of_the_documents_without_the_tokenizers_own_space(
    pack: Callable[..., PackReport],
    documents: Path,
    tmp_path: Path,
    shared_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    boundary: Any,
) -> None:
    monkeypatch.setattr(shards, "_CHUNK", 37)  # documents go over their ends
    llama = shared_data / "tokenizers" / "llama2"
    pack("out", documents, tokenizer=llama, config=replace(CONFIG, boundary=boundary))
    assert ShardFolder.open(tmp_path / "out").index.bytes == sum(len(text.encode()) for text in TEXTS)


def test_long_documents_are_cut_off_or_left_out_as_asked_and_counted(
    pack: Callable[..., PackReport], documents: Path, tmp_path: Path, expected: list[list[int]]
) -> None:
    cut = pack("cut", documents, config=replace(CONFIG, long="truncate"))
    assert list(documents_of(tmp_path / "cut").values()) == [ids[:32] for ids in expected]
    assert cut.lost_tokens == sum(max(0, len(ids) - 32) for ids in expected) and cut.cut_documents == 0
    left_out = pack("left", documents, config=replace(CONFIG, long="drop"))
    assert sorted(documents_of(tmp_path / "left").values()) == sorted(
        ids for ids in expected if len(ids) <= 32
    )
    assert left_out.dropped_documents == sum(len(ids) > 32 for ids in expected)
    assert left_out.lost_tokens == sum(len(ids) for ids in expected if len(ids) > 32)


def test_token_documents_give_the_shards_that_their_text_gives(
    pack: Callable[..., PackReport], documents: Path, tmp_path: Path, expected: list[list[int]]
) -> None:
    path = tmp_path / "tokens.jsonl"
    rows = [{"id": f"d{n}", "source": "test", "tokens": ids} for n, ids in enumerate(expected)]
    path.write_bytes(b"".join(map(encode_line, rows)))
    pack("a", documents)
    pack("b", path)
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert first.pop("llmkit.json") != second.pop("llmkit.json")
    assert first == second


def test_the_same_bytes_whatever_the_workers(
    pack: Callable[..., PackReport], documents: Path, tmp_path: Path
) -> None:
    for name, workers in (("one", 1), ("two", 2), ("all", None)):
        pack(name, documents, config=replace(CONFIG, shard_tokens=500), workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "all")


def test_rows_with_gaps_decode_to_their_documents_whatever_the_workers(
    pack: Callable[..., PackReport], documents: Path, tmp_path: Path, marked_dir: Path
) -> None:
    config = PackConfig(seq_len=200, fim=0.6)
    for name, workers in (("one", 1), ("two", 2)):
        report = pack(name, documents, config=config, tokenizer=marked_dir, workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    backend = tokenizers.Tokenizer.from_file(str(marked_dir / "tokenizer.json"))
    forms = {"psm": 0, "spm": 0}
    for text, ids in zip(TEXTS, documents_of(tmp_path / "one").values(), strict=True):
        content = backend.decode(ids, skip_special_tokens=False)
        content = content.removeprefix("<|endoftext|>").removesuffix("<|endoftext|>")
        if content.startswith("<fim_prefix><fim_suffix>") and not content.endswith("<fim_middle>"):
            after, last = content.removeprefix("<fim_prefix><fim_suffix>").split("<fim_middle>")
            content, form = last + after, "spm"
        elif content.startswith("<fim_prefix>"):
            before, rest = content.removeprefix("<fim_prefix>").split("<fim_suffix>")
            after, middle = rest.split("<fim_middle>")
            content, form = before + middle + after, "psm"
        else:
            assert content == text
            continue
        forms[form] += 1
        assert content == text
    assert forms == {"psm": report.fim_psm_documents, "spm": report.fim_spm_documents}
    assert min(forms.values()) > 5 and sum(forms.values()) < 50
    index = ShardFolder.open(tmp_path / "one").index
    assert index.bytes == sum(len(text.encode()) for text in TEXTS)


def test_marks_of_a_gap_are_no_text_where_the_tokenizer_has_them_as_ordinary_tokens(
    pack: Callable[..., PackReport], documents: Path, tmp_path: Path, shared_data: Path
) -> None:
    qwen = (
        shared_data / "tokenizers" / "qwen2"
    )  # whose added tokens <|fim_prefix|> and others are not special
    report = pack("out", documents, config=PackConfig(seq_len=200, fim=1.0), tokenizer=qwen)
    assert report.fim_psm_documents + report.fim_spm_documents > 50
    assert ShardFolder.open(tmp_path / "out").index.bytes == sum(len(text.encode()) for text in TEXTS)


def test_loss_masks_are_carried(pack: Callable[..., PackReport], tmp_path: Path) -> None:
    lines = [
        {"id": "a", "tokens": [5, 6, 7, 8], "mask": [[1, 2]]},
        {"id": "b", "tokens": list(range(10, 50)), "mask": [[30, 10]]},
        {"id": "c", "tokens": [9, 9]},
    ]
    (tmp_path / "t.jsonl").write_bytes(b"".join(map(encode_line, lines)))
    pack("out", tmp_path / "t.jsonl", config=replace(CONFIG, shuffle=False))
    shards = ShardFolder.open(tmp_path / "out")
    rows = shards.read(range(len(shards)))
    learnt = sorted(rows.tokens[rows.loss].tolist())
    assert learnt == sorted([6, 7, *range(40, 50), 9, 9])


def test_without_a_tokenizer_the_vocabulary_is_what_was_seen(
    pack: Callable[..., PackReport], tmp_path: Path
) -> None:
    for highest, dtype in ((65_535, "u2"), (65_536, "u4")):
        (tmp_path / "t.jsonl").write_bytes(encode_line({"tokens": [1, highest]}))
        report = pack(f"out{highest}", tmp_path / "t.jsonl", tokenizer=None, config=PackConfig(seq_len=31))
        assert (report.vocab_size, report.dtype, report.boundary) == (highest + 1, dtype, "none")
        rows = ShardFolder.open(tmp_path / f"out{highest}").read([0])
        assert rows.tokens[0, :2].tolist() == [1, highest]


def test_plain_files_folders_chats_and_tokens_go_together(
    pack: Callable[..., PackReport], tmp_path: Path, byte_level_dir: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("plain text")
    (tmp_path / "in" / "b.jsonl").write_bytes(
        encode_line({"messages": [{"role": "user", "content": "hi <|im_end|>"}]})
        + encode_line({"id": "t", "tokens": [3, 4]})
        + encode_line({"id": "x", "text": "more"})
    )
    pack("out", tmp_path / "in", config=replace(CONFIG, shuffle=False))
    backend = tokenizers.Tokenizer.from_file(str(byte_level_dir / "tokenizer.json"))
    chat = "<|im_start|>user\nhi <|im_end|><|im_end|>\n"
    assert list(documents_of(tmp_path / "out").values()) == [
        backend.encode("plain text").ids,
        backend.encode(chat).ids,
        [3, 4],
        backend.encode("more").ids,
    ]


def test_provenance_names_inputs_by_digest_and_no_place(
    pack: Callable[..., PackReport], documents: Path, tmp_path: Path
) -> None:
    import hashlib

    pack("out", documents)
    record = json.loads((tmp_path / "out" / "llmkit.json").read_text())
    assert record["inputs"] == {"docs.jsonl": hashlib.sha256(documents.read_bytes()).hexdigest()}
    assert str(tmp_path) not in (tmp_path / "out" / "llmkit.json").read_text()
    assert record["tokenizer_sha256"] == ShardFolder.open(tmp_path / "out").index.tokenizer_sha256


def test_ids_of_nanogpt_come_back_as_the_documents_they_were_with_both_digests_of_a_pair(
    pack: Callable[..., PackReport], tmp_path: Path, expected: list[list[int]], byte_level_dir: Path
) -> None:
    end = load_tokenizer(byte_level_dir).eos_id
    assert end is not None
    stream = [id for ids in expected for id in (*ids, end)]
    np.array(stream, dtype=np.uint16).tofile(tmp_path / "train.bin")
    assert pack("rows", tmp_path / "train.bin").documents == len(expected)
    assert list(documents_of(tmp_path / "rows").values()) == expected
    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, 1, 2)
    (tmp_path / "train.idx").write_bytes(head + struct.pack("<iqqq", len(stream), 0, 0, 1))
    assert pack("pair", tmp_path / "train.bin").documents == 1
    inputs = json.loads((tmp_path / "pair" / "llmkit.json").read_text())["inputs"]
    assert inputs.keys() == {"train.bin", "train.idx"}


def test_what_cannot_be_packed_is_told_before_anything_is_written(
    pack: Callable[..., PackReport], documents: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"docs\.jsonl:1: text needs a tokenizer"):
        pack("out", documents, tokenizer=None)
    with pytest.raises(UsageError, match="--boundary eos needs a tokenizer"):
        pack("out", documents, tokenizer=None, config=replace(CONFIG, boundary="eos"))
    with pytest.raises(MissingError):
        pack("out", tmp_path / "nowhere")
    (tmp_path / "t.jsonl").write_bytes(encode_line({"tokens": [1, 99_999]}))
    with pytest.raises(DataError, match=r"t\.jsonl:1: id 99999 is beyond the tokenizer's 600 ids"):
        pack("out", tmp_path / "t.jsonl")
    (tmp_path / "empty.jsonl").write_bytes(encode_line({"tokens": []}))
    with pytest.raises(DataError, match=r"empty.jsonl: no tokens to pack \(found 1 document\)"):
        pack("out", tmp_path / "empty.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docs.jsonl", "empty.jsonl", "t.jsonl"]


KILL = """
import os, signal
import llmkit.workflows.{module} as module
original, count = module.{function}, 0
def replaced(*args, **settings):
    global count
    count += 1
    result = original(*args, **settings)
    if count == {count}:
        os.kill(os.getpid(), signal.{signal})
    return result
module.{function} = replaced
import llmkit.workflows.pack.spool as spool
spool.COMMIT_SECONDS = 0
"""
RUN = "from llmkit.cli import main\nmain()\n"


@pytest.mark.parametrize(
    ("module", "function", "count"), [("pack.spool", "_add", 30), ("pack.shards", "write_shard", 2)]
)
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_an_interrupted_pack_goes_on_and_ends_with_the_same_bytes(
    documents: Path,
    byte_level_dir: Path,
    forked_python: Path,
    tmp_path: Path,
    module: str,
    function: str,
    count: int,
    name: str,
) -> None:
    line = [
        *("pack", str(documents), "-t", str(byte_level_dir), "--seq-len", "31", "--shard-tokens", "600"),
        *("--resume", "-q", "-o"),
    ]
    before = KILL.format(module=module, function=function, count=count, signal=name)

    def run(script: str, out: str) -> subprocess.CompletedProcess[str]:
        words = [forked_python, "-c", script + RUN, *line, out]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)

    stopped = run(before, "out")
    assert stopped.returncode == (-signal.SIGKILL if name == "SIGKILL" else 75), stopped.stderr
    assert not (tmp_path / "out").exists() and (tmp_path / ".out.partial").exists()
    counted = f"""
import llmkit.workflows.{module} as module
original = module.{function}
calls = []
module.{function} = lambda *args, **settings: calls.append(1) or original(*args, **settings)
import atexit, sys
atexit.register(lambda: print(len(calls), file=sys.stderr))
"""
    again = run(counted, "out")
    whole = run(counted, "whole")
    assert again.returncode == whole.returncode == 0, again.stderr
    assert int(whole.stderr) - int(again.stderr) >= count - 1  # what was done was not done again
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not (tmp_path / ".out.partial").exists()
