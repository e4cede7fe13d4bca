"""One row and one document inside a shard folder, put together again from both sides."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers

from llmkit.errors import DataError, GateFailed, UsageError
from llmkit.formats.shards import ShardFolder
from llmkit.workflows.show.rows import show_row, trace_document


def test_a_row_is_its_documents_with_their_text(shards: Path, byte_level_dir: Path) -> None:
    backend = tokenizers.Tokenizer.from_file(str(byte_level_dir / "tokenizer.json"))
    (place,) = trace_document(shards, "one")[0].places
    report = show_row(shards, place.row, byte_level_dir, decode=True)
    segment = next(one for one in report.segments if one.id == "one")
    assert segment.tokens == [0, *backend.encode("The first short document.").ids, 0]
    assert segment.text == "<|endoftext|>The first short document.<|endoftext|>"
    assert (segment.start, segment.offset, segment.document) == (place.start, 0, 1)
    assert report.padding_tokens == 64 - sum(len(one.tokens) for one in report.segments)


def test_every_row_can_be_shown_and_the_last_is_minus_one(shards: Path) -> None:
    folder = ShardFolder.open(shards)
    for row in range(len(folder)):
        report = show_row(shards, row, None, decode=False)
        used = [token for segment in report.segments for token in segment.tokens]
        assert used == folder.read([row]).tokens[0, : len(used)].tolist()
        assert report.segments[0].text is None
        assert report.shard == folder.index.shards[folder.place(row)[0]].file
    assert show_row(shards, -1, None, decode=False).row == len(folder) - 1


def test_loss_is_counted_for_each_document(shards: Path) -> None:
    (place,) = trace_document(shards, "masked")[0].places
    (segment,) = [
        one for one in show_row(shards, place.row, None, decode=False).segments if one.id == "masked"
    ]
    assert segment.tokens == [0, 50, 51, 52, 53, 0] and segment.loss_tokens == 3  # 52, 53 and the end


def test_a_long_document_is_traced_through_all_its_rows(shards: Path) -> None:
    (report,) = trace_document(shards, "licence")
    assert sum(place.length for place in report.places) == report.tokens
    assert [place.offset for place in report.places] == list(range(0, report.tokens, 64))
    folder = ShardFolder.open(shards)
    ids = [
        one
        for place in report.places
        for one in folder.read([place.row]).tokens[0, place.start : place.start + place.length].tolist()
    ]
    assert ids[0] == ids[-1] == 0 and len(ids) == report.tokens
    assert len({place.shard for place in report.places}) > 1


def test_documents_with_one_id_are_all_traced(shards: Path) -> None:
    assert [report.document for report in trace_document(shards, "two")] == [2, 3]


def test_what_was_cut_off_is_told(pack_records: Callable[..., Path]) -> None:
    folder = pack_records("cut", {"id": "a", "text": "word " * 200}, long="truncate")
    (report,) = trace_document(folder, "a")
    assert report.tokens == 64 and report.lost_tokens > 0


def test_an_id_that_is_not_there_is_no(shards: Path) -> None:
    with pytest.raises(GateFailed, match=r"no document with id 'nope' \(searched 5\)"):
        trace_document(shards, "nope")


def test_a_row_that_is_not_there_is_wrong_usage(shards: Path) -> None:
    rows = len(ShardFolder.open(shards))
    for row in (rows, -rows - 1):
        with pytest.raises(UsageError, match=rf"no row {row} \(found {rows} rows\)"):
            show_row(shards, row, None, decode=False)


def test_another_tokenizer_is_refused(shards: Path, shared_data: Path) -> None:
    with pytest.raises(DataError, match="packed with another tokenizer"):
        show_row(shards, 0, shared_data / "tokenizers" / "gpt2", decode=True)
