"""The digest of what has to be equal."""

import msgspec
import pytest

from llmkit.errors import DataError
from llmkit.formats.documents import Document
from llmkit.text.exact import digest_of
from llmkit.workflows.dedup.options import DedupConfig
from llmkit.workflows.dedup.sign import key_digest, sign_unit
from llmkit.workflows.units import Unit
from tests.workflows.deduping import dedup, write_rows


def document(**record: object) -> Document:
    raw = {key: msgspec.Raw(msgspec.json.encode(value)) for key, value in record.items()}
    return Document("id", str(record.get("text", "")), "in.jsonl", 1, raw)


def test_a_digest_is_of_the_text_or_of_the_key() -> None:
    by_text, by_key = DedupConfig(by="exact"), DedupConfig(by="exact", key="metadata.url")
    one = document(text="a", metadata={"url": "u"})
    assert key_digest(one, by_text) == digest_of(b"a") and key_digest(one, by_key) == digest_of(b"u")
    assert key_digest(document(text="a", metadata={"url": 5}), by_key) == digest_of(b"5")
    for nothing in ({}, {"url": ""}, {"url": None}):
        assert key_digest(document(text="a", metadata=nothing), by_key) == (0, 0)


def test_what_has_no_order_is_named_by_its_line(tmp_path) -> None:
    path = write_rows(tmp_path / "in.jsonl", [{"text": "a", "score": 1}, {"text": "b", "score": "much"}])
    with pytest.raises(DataError, match=r"in\.jsonl:2: score is neither"):
        dedup(tmp_path / "out", [path], prefer="score:max")


@pytest.mark.parametrize("by", ["near", "exact"])
def test_the_later_of_two_dates_at_the_top_is_kept(tmp_path, by) -> None:
    text = "one text of more than five words, twice"
    dates = {"old": "2020-01-01", "new": "2024-01-01"}
    rows = [{"id": name, "text": text, "date": date} for name, date in dates.items()]
    done = dedup(tmp_path, [write_rows(tmp_path / "in.jsonl", rows)], by=by, prefer="date:max")
    assert done.ids == {"new"} and done.report.warnings == []


def test_a_preference_for_what_no_document_has_is_told_once(tmp_path) -> None:
    inputs = [
        write_rows(tmp_path / f"{name}.jsonl", [{"id": name, "text": "a b c d e f", key: 1}])
        for name, key in (("a", "score"), ("b", "other"), ("c", "third"))
    ]
    done = dedup(tmp_path, inputs, prefer="nothing:max,score:max,length:max", unit_bytes=10)
    assert done.ids == {"a"}
    assert [line for line in done.report.warnings if "--prefer" in line] == [
        "--prefer nothing: no document has it"
    ]


def test_a_unit_is_told_what_to_do_in_full() -> None:
    with pytest.raises(msgspec.ValidationError, match="pieces"):
        sign_unit(Unit("sign-0", {}), None)  # type: ignore[arg-type]
