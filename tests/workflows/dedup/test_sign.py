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


def test_a_unit_is_told_what_to_do_in_full() -> None:
    with pytest.raises(msgspec.ValidationError, match="pieces"):
        sign_unit(Unit("sign-0", {}), None)  # type: ignore[arg-type]
