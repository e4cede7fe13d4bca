"""What a document looks like when it is written."""

import io
import json
from typing import Any

import msgspec

from llmkit.formats.documents import Document
from llmkit.formats.jsonl import BadLine
from llmkit.text.exact_pieces import split_pieces
from llmkit.workflows.dedup.options import DedupConfig
from llmkit.workflows.dedup.write import DocumentWriter, Tally


def document(**record: Any) -> Document:
    raw = {key: msgspec.Raw(msgspec.json.encode(value)) for key, value in record.items()}
    return Document(record.get("id", "made"), record["text"], "in.jsonl", 3, raw)


def written(config: DedupConfig) -> tuple[DocumentWriter, io.BytesIO, io.BytesIO]:
    kept, rejects = io.BytesIO(), io.BytesIO()
    return DocumentWriter(config, kept, rejects), kept, rejects


def test_a_document_that_stays_gets_an_id_and_its_history_only() -> None:
    writer, kept, _ = written(DedupConfig())
    writer.keep(document(id="a", text="é", n=1.0))
    writer.keep(document(text="é", metadata={"x": 1, "history": [{"stage": "clean"}]}), members=2)
    first, second = map(json.loads, kept.getvalue().splitlines())
    assert first == {"id": "a", "text": "é", "n": 1.0}
    history = [{"stage": "clean"}, {"stage": "dedup", "rule": "near", "duplicates": 2}]
    assert second == {"id": "made", "text": "é", "metadata": {"x": 1, "history": history}}
    assert (writer.tally.kept, writer.tally.kept_bytes, writer.tally.bytes) == (2, 4, 4)


def test_an_id_of_null_is_none_so_that_clusters_and_rejects_name_what_is_written() -> None:
    writer, kept, _ = written(DedupConfig())
    writer.keep(
        Document("made", "é", "in.jsonl", 3, {"id": msgspec.Raw(b"null"), "text": msgspec.Raw(b'"e"')})
    )
    assert json.loads(kept.getvalue()) == {"id": "made", "text": "e"}


def test_a_cut_document_counts_what_went_and_an_empty_one_is_a_reject() -> None:
    text = "some words of a paragraph\n\nand another one of such words"
    pieces = split_pieces(text, "paragraph")
    writer, kept, rejects = written(DedupConfig(by="paragraph"))
    writer.cut(document(id="a", text=text), pieces[1:])
    writer.cut(document(id="b", text=text), pieces)
    row, reject = json.loads(kept.getvalue()), json.loads(rejects.getvalue())
    assert row["text"] == "some words of a paragraph"
    assert reject["text"] == text and reject["_reject"]["value"] == 2 and "dup_of" not in reject["_reject"]
    tally = writer.tally
    assert (tally.edited, tally.removed, tally.pieces) == (1, 1, 3)
    assert tally.bytes == 2 * len(text) == tally.kept_bytes + tally.removed_bytes


def test_tags_stand_beside_other_attributes() -> None:
    writer, kept, _ = written(DedupConfig(mode="tag"))
    writer.duplicate(document(text="x", attributes={"y": 1}), keeper="k", similarity=0.87654)
    writer.duplicate(document(text="x", attributes=None), keeper="k", similarity=None)
    writer.duplicate(document(text="x", attributes=[1]), keeper="k", similarity=None)
    first, second, third = map(json.loads, kept.getvalue().splitlines())
    assert third["attributes"] == {"was": [1], "dedup": {"dup_of": "k", "rule": "near"}}
    assert first["attributes"] == {"y": 1, "dedup": {"dup_of": "k", "rule": "near", "similarity": 0.8765}}
    assert second["attributes"] == {"dedup": {"dup_of": "k", "rule": "near"}}
    spans, kept_spans, _ = written(DedupConfig(by="line", mode="tag"))
    text = "one two three four five\nshort"
    spans.cut(document(text=text), split_pieces(text, "line"))
    assert json.loads(kept_spans.getvalue())["attributes"]["dedup"] == {"rule": "line", "spans": [[0, 23]]}


def test_malformed_lines_are_counted_and_kept_with_the_rejects() -> None:
    writer, _, rejects = written(DedupConfig())
    writer.bad(BadLine(b"{", "in.jsonl", 9, "not a JSON object"))
    assert json.loads(rejects.getvalue())["_reject"]["stage"] == "dedup" and writer.tally.bad_lines == 1


def test_tallies_add_up() -> None:
    total = Tally(documents=1, bytes=5)
    total.add(Tally(documents=2, kept=2, bytes=7))
    assert total == Tally(documents=3, kept=2, bytes=12)
