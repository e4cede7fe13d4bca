"""Data files counted: what they are, how long their texts and token lists, which keys they have."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError
from llmkit.formats.jsonl import read_records
from llmkit.workflows.show.records import RecordsReport, show_records, show_text


def _report(path: Path, records: list[dict[str, Any]]) -> RecordsReport:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return show_records(path, read_records(path))


def test_documents_have_bytes_and_fields(tmp_path: Path) -> None:
    report = _report(tmp_path / "d.jsonl", [{"id": "a", "text": "né"}, {"text": "four"}])
    assert (report.kind, report.records, report.fields) == ("documents", 2, {"id": 1, "text": 2})
    assert report.text_bytes is not None
    assert (report.text_bytes.total, report.text_bytes.shortest, report.text_bytes.longest) == (7, 3, 4)


def test_token_documents_have_lengths_ids_and_masks(tmp_path: Path) -> None:
    report = _report(tmp_path / "t.jsonl", [{"tokens": [1, 900, 2]}, {"tokens": [], "mask": []}])
    assert (report.kind, report.highest_token_id, report.masked_records) == ("tokens", 900, 1)
    assert report.tokens is not None and (report.tokens.total, report.tokens.mean) == (3, 1.5)


def test_chats_have_turns_and_roles(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    report = _report(tmp_path / "c.jsonl", [{"messages": turns}, {"messages": turns * 2}])
    assert (report.kind, report.roles) == ("chat", {"user": 3, "assistant": 3})
    assert report.messages is not None and report.messages.longest == 4


def test_other_kinds_are_told_by_their_keys(tmp_path: Path) -> None:
    assert _report(tmp_path / "a", [{"prompt": "a"}]).kind == "prompts"
    assert _report(tmp_path / "b", [{"prompt": "a", "chosen": "b", "rejected": "c"}]).kind == "preference"
    assert _report(tmp_path / "c", [{"question": "a"}]).kind == "records"


def test_a_text_that_is_no_string_is_bad_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"d\.jsonl:2"):
        _report(tmp_path / "d.jsonl", [{"text": "a"}, {"text": 7}])


def test_plain_text_has_lines_and_bytes_and_must_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("née\nb\n".encode())
    report = show_text(path)
    assert (report.lines, report.text_bytes and report.text_bytes.total) == (2, 7)
    path.write_bytes(b"ok\n\xe9t\xe9\n")
    with pytest.raises(DataError, match=r"a\.txt:2: not UTF-8 \(found byte 0xe9\)"):
        show_text(path)
