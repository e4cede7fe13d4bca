"""A document is found in files, folders, rejects and rows; its chunks and duplicates with it."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from llmkit.errors import GateFailed, MissingError
from llmkit.formats.digest import content_id
from llmkit.workflows.show.rows import TraceReport
from llmkit.workflows.show.trace import Sighting, trace
from tests.workflows.mixing import write_rows

HISTORY = [{"stage": "clean", "edits": {"nfc": 1}}, {"stage": "mix", "source": "web", "epoch": 2}]


def sightings(paths: list[Path], identity: str) -> list[Sighting]:
    found = trace(paths, identity)
    assert all(isinstance(one, Sighting) for one in found)
    return [one for one in found if isinstance(one, Sighting)]


def test_a_record_says_what_it_is_and_what_became_of_it(tmp_path: Path) -> None:
    text = "naïve"
    row = {"id": "a", "text": text, "source": "web", "metadata": {"license": "MIT", "history": HISTORY}}
    path = write_rows(tmp_path / "docs.jsonl", [{"id": "b", "text": "a"}, row])
    (one,) = sightings([path], "a")
    assert (one.file, one.line, one.id, one.relation) == (str(path), 2, "a", "itself")
    assert (one.source, one.license, one.epoch, one.history) == ("web", "MIT", 2, HISTORY)
    assert (one.text_bytes, one.text_sha256) == (6, sha256(text.encode()).hexdigest())


def test_what_was_dropped_for_it_and_what_was_cut_from_it_are_found_too(tmp_path: Path) -> None:
    why = {"stage": "dedup", "rule": "near", "dup_of": "a"}
    rejects = write_rows(tmp_path / "rejects.jsonl", [{"id": "b", "text": "x", "_reject": why}])
    tokens = write_rows(tmp_path / "t.jsonl", [{"id": "a#0", "tokens": [1, 2], "parent": "a"}, {"id": "a#1"}])
    first, second = sightings([rejects, tokens], "a")
    assert (first.relation, first.id, first.reject) == ("duplicate", "b", why)
    assert (second.relation, second.id, second.tokens, second.path) == ("chunk", "a#0", 2, str(tokens))
    (itself,) = sightings([rejects], "b")
    assert (itself.relation, itself.reject) == ("itself", why)


@pytest.mark.parametrize("identity", ['qu"ote', "é", "\u2028", "a\\b"])
def test_an_id_is_found_however_json_spells_it(tmp_path: Path, identity: str) -> None:
    for ascii_only in (True, False):
        path = tmp_path / "docs.jsonl"
        path.write_text(json.dumps({"id": identity, "text": "x"}, ensure_ascii=ascii_only) + "\n", "utf-8")
        assert len(sightings([path], identity)) == 1


def test_a_document_without_an_id_goes_by_the_digest_of_its_text(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    write_rows(folder / "1.jsonl", [{"text": "other"}, {"text": "this"}])
    (folder / "llmkit.json").write_text("{}")
    (folder / "plain.txt").write_text("this")
    (one,) = sightings([folder], content_id("this"))
    assert (one.id, one.line, one.path) == (content_id("this"), 2, str(folder))
    (plain,) = sightings([folder], str(folder / "plain.txt"))
    assert plain.line == 0


def test_numbers_malformed_lines_and_odd_values_do_no_harm(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "docs.jsonl", [{"id": 7, "text": "x", "parent": 7, "_reject": "7"}, {"id": None, "n": 7}]
    )
    with path.open("a") as stream:
        stream.write("7 no json\n")
    (one,) = sightings([path], "7")
    assert (one.id, one.reject) == ("7", None)


def test_a_document_that_is_nowhere_is_no(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "docs.jsonl", [{"id": "a", "text": "b"}])
    with pytest.raises(GateFailed, match=r"docs.jsonl: no document with id 'b'"):
        trace([path], "b")
    with pytest.raises(MissingError):
        trace([tmp_path / "nowhere"], "a")


def test_rows_of_shards_come_with_the_source_and_licence_of_their_documents(pack_records) -> None:
    metadata = {"license": "MIT", "history": HISTORY}
    folder = pack_records("s", {"id": "a", "text": "word " * 9, "source": "web", "metadata": metadata})
    (rows,) = trace([folder], "a")
    assert isinstance(rows, TraceReport)
    assert (rows.source, rows.license, rows.epoch) == ("web", "MIT", 2) and rows.places
    documents = write_rows(folder.parent / "docs.jsonl", [{"id": "b", "text": "x"}])
    assert [one.path for one in trace([documents, folder], "b")] == [str(documents)]
    with pytest.raises(GateFailed, match="searched 1"):
        trace([folder], "b")
