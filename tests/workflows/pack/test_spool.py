"""The spool of a pack: markers, long documents, empty ones, counted one by one."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zstandard

from llmkit.formats.jsonl import encode_line
from llmkit.formats.shards import DOCUMENTS
from llmkit.formats.token_documents import TokenDocument
from llmkit.progress import SILENT
from llmkit.tokens.boundary import Markers
from llmkit.tokens.config import PackConfig
from llmkit.tokens.gaps import GapMaker
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.pack.input import PackJob
from llmkit.workflows.pack.spool import Tally, clear_spool, id_type_of, spool_documents

RECORDS = (
    {"id": "short", "tokens": [5, 6], "mask": [[1, 1]]},
    {"id": "empty", "tokens": []},
    {"id": "long", "tokens": [10, 11, 12, 13, 14, 15], "mask": [[0, 2], [4, 2]]},
)


def spooled(folder: Path, **config: Any) -> tuple[list[int], list[int], list[list[int]], Tally, list[bytes]]:
    """ids, lengths, runs without loss, the tally and the lines of RECORDS in rows of 4."""
    (folder / "in.jsonl").write_bytes(b"".join(map(encode_line, RECORDS)))
    job = PackJob(
        inputs=[folder / "in.jsonl"],
        tokenizer=None,
        markers=Markers(bos=1),
        config=PackConfig(seq_len=3, **config),
        field="text",
        workers=1,
    )
    spool_folder = folder / "spool"
    with spool_documents(spool_folder, job, on_bad=None, is_kept=False, progress=SILENT) as (spool, tally):
        runs, counts = spool.runs()
        assert counts.sum() == len(runs)
        lines = (spool_folder / "documents").read_bytes().splitlines()
        return spool.tokens().tolist(), spool.lengths().tolist(), runs.tolist(), tally, lines


def test_a_split_document_is_kept_whole_for_the_plan(tmp_path: Path) -> None:
    ids, lengths, runs, tally, lines = spooled(tmp_path, long="split")
    assert (ids, lengths) == ([1, 5, 6, 1, 10, 11, 12, 13, 14, 15], [3, 7])
    assert runs == [[0, 2], [3, 2]]
    assert (tally.seen, tally.empty, tally.long, tally.dropped, tally.lost_tokens) == (3, 1, 1, 0, 0)
    assert lines == [
        b'{"document":0,"id":"short","num_tokens":3}',
        b'{"document":1,"id":"long","num_tokens":7}',
    ]


def test_a_truncated_document_ends_where_a_row_does_and_its_loss_with_it(tmp_path: Path) -> None:
    ids, lengths, runs, tally, lines = spooled(tmp_path, long="truncate")
    assert (ids, lengths, runs) == ([1, 5, 6, 1, 10, 11, 12], [3, 4], [[0, 2], [3, 1]])
    assert (tally.long, tally.lost_tokens) == (1, 3)
    assert lines[1] == b'{"document":1,"id":"long","num_tokens":4,"lost_tokens":3}'


def test_a_dropped_document_is_counted_and_gone(tmp_path: Path) -> None:
    ids, lengths, _, tally, lines = spooled(tmp_path, long="drop")
    assert (ids, lengths, len(lines)) == ([1, 5, 6], [3], 1)
    assert (tally.seen, tally.dropped, tally.lost_tokens) == (3, 1, 7)


def test_ids_take_two_bytes_where_the_vocabulary_allows_it(shared_data: Path) -> None:
    assert id_type_of(load_tokenizer(shared_data / "tokenizers" / "gpt2")) == "u2"  # 50,257
    assert id_type_of(load_tokenizer(shared_data / "tokenizers" / "qwen2")) == "u4"  # 151,646
    assert id_type_of(None) == "u4"
    assert np.dtype("<u2").itemsize == 2


def test_a_kept_spool_is_committed_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.jsonl").write_bytes(
        b"".join(encode_line({"id": str(n), "tokens": [n]}) for n in range(9))
    )
    job = PackJob(
        inputs=[tmp_path / "in.jsonl"], tokenizer=None, markers=Markers(), config=PackConfig(seq_len=3),
        field="text", workers=1,
    )  # fmt: skip
    monkeypatch.setattr("llmkit.workflows.pack.spool.COMMIT_SECONDS", 0)
    with spool_documents(tmp_path / "s", job, on_bad=None, is_kept=True, progress=SILENT) as (spool, _):
        assert spool.state.documents == 9
    with spool_documents(tmp_path / "s", job, on_bad=None, is_kept=True, progress=SILENT) as (spool, tally):
        assert (spool.state.documents, tally.seen, spool.tokens().tolist()) == (9, 9, list(range(9)))


def test_gaps_of_a_spool_that_is_gone_on_with_are_those_of_one_run(
    tmp_path: Path, marked_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [{"id": str(n), "text": f"text number {n}"} for n in range(9)]
    config, marks = PackConfig(seq_len=60, fim=0.5), load_tokenizer(marked_dir)
    job = PackJob(
        inputs=[tmp_path / "in.jsonl"], tokenizer=marks, markers=Markers(), config=config, field="text",
        workers=1, gaps=GapMaker(marks, config, lambda one: True),
    )  # fmt: skip
    found = []
    for name, amounts in (("once", [9]), ("twice", [4, 9])):
        for amount in amounts:
            (tmp_path / "in.jsonl").write_bytes(b"".join(map(encode_line, records[:amount])))
            with spool_documents(tmp_path / name, job, on_bad=None, is_kept=True, progress=SILENT) as (
                spool,
                tally,
            ):
                kept = spool.tokens().tolist()
        lines = (tmp_path / name / "documents").read_bytes()
        found.append((kept, lines, tally))
    assert found[0] == found[1]
    forms = [msgspec.json.decode(line).get("fim") for line in found[0][1].splitlines()]
    assert (forms.count("psm"), forms.count("spm")) == (found[0][2].fim_psm, found[0][2].fim_spm)
    assert 0 < found[0][2].fim_psm + found[0][2].fim_spm < 9


def test_documents_that_are_given_are_spooled_instead_and_the_spool_can_be_cleared(tmp_path: Path) -> None:
    job = PackJob(
        inputs=[], tokenizer=None, markers=Markers(), config=PackConfig(seq_len=3), field="text", workers=1
    )
    given = [TokenDocument("a", np.array([1, 2], np.uint32), [(1, 1)])]
    with spool_documents(
        tmp_path / "spool", job, on_bad=None, is_kept=False, progress=SILENT, documents=given
    ) as (spool, tally):
        assert (spool.tokens().tolist(), spool.runs()[0].tolist(), tally.seen) == ([1, 2], [[0, 1]], 1)
    clear_spool(tmp_path / "spool", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [DOCUMENTS]
    kept = zstandard.ZstdDecompressor().stream_reader((tmp_path / DOCUMENTS).read_bytes()).read()
    assert kept == b'{"document":0,"id":"a","num_tokens":2}\n'
