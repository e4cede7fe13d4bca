"""Data files: a finding for each malformed line, for empty records and for bytes that are not UTF-8."""

from pathlib import Path

from llmkit.workflows.doctor.data import SHOWN, check_records, check_text


def test_good_records_have_no_findings_and_a_highest_id(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"tokens": [4, 9]}\n{"tokens": [2]}\n')
    assert check_records(path) == ([], 9)


def test_malformed_lines_are_found_each_and_then_counted(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"text": "a"}\n' + "{oops\n" * 5 + '{"text": ""}\n')
    findings, _ = check_records(path)
    assert [one.where for one in findings] == [
        *(f"{path}:{number}" for number in (2, 3, 4)),
        str(path),
        str(path),
    ]
    assert f"{5 - SHOWN} more" in findings[3].what
    assert (findings[4].check, findings[4].level) == ("data.empty", "warning")


def test_a_file_of_malformed_lines_alone_is_not_said_to_be_blank(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("{oops\n")
    findings, _ = check_records(path)
    assert [(one.where, one.check) for one in findings] == [(f"{path}:1", "data.line")]
    path.write_text("\n")
    findings, _ = check_records(path)
    assert [one.check for one in findings] == ["data.fields"] and "nothing but blank" in findings[0].what


def test_a_field_of_another_type_is_found(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"text": "a"}\n{"text": 7}\n')
    findings, _ = check_records(path)
    assert [(one.level, one.check) for one in findings] == [("error", "data.fields")]
    assert findings[0].where == f"{path}:2"


def test_text_that_is_empty_or_not_utf8_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for content, checks in ((b"fine\n", []), (b"\xff\n", ["data.utf8"]), (b"", ["data.empty"])):
        path.write_bytes(content)
        assert [one.check for one in check_text(path)] == checks
