"""The log of rejects, and what --strict says to a report."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from llmkit.errors import GateFailed, UsageError
from llmkit.formats.jsonl import BadLine, Line
from llmkit.tokens.audit import Audit, AuditReport, Fault
from llmkit.workflows.finetune.audit import (
    check_strict,
    describe_faults,
    nothing_left,
    read_audit,
    reject_log,
    write_audit,
)


def report(*rules: str) -> AuditReport:
    audit = Audit()
    audit.take_faults("a.jsonl:3", [Fault(rule, f"about {rule}") for rule in rules])
    return audit.report()


def test_strict_fails_on_any_fault_and_names_them() -> None:
    check_strict(report("mask.zero"), False)
    check_strict(report(), True)
    with pytest.raises(GateFailed, match=r"found 1 fault: text.lost 1"):
        check_strict(report("text.lost"), True)
    with pytest.raises(
        GateFailed, match=r"2 faults: mask.zero 1 .a.jsonl:3: about mask.zero., text.lost 1"
    ) as error:
        check_strict(report("text.lost", "mask.zero"), True)
    assert error.value.status == 1


def test_faults_are_described_gravest_first() -> None:
    found = report("text.lost", "mask.zero")
    assert re.findall(r"\S+ 1 \(a.jsonl:3", describe_faults(found)) == [
        "mask.zero 1 (a.jsonl:3",
        "text.lost 1 (a.jsonl:3",
    ]


def test_a_set_without_records_is_told_from_one_of_faulty_ones() -> None:
    assert "found 0 records" in nothing_left(report()).problem
    assert "--rejects" not in nothing_left(report()).hint
    audit = Audit(records=1)
    audit.take_faults("a.jsonl:3", [Fault("mask.zero", "no token")])
    error = nothing_left(audit.report())
    assert "mask.zero 1 (a.jsonl:3: no token)" in error.problem and "--rejects" in error.hint


def test_an_audit_is_read_back(tmp_path: Path) -> None:
    write_audit(tmp_path / "audit.json", report("mask.zero"))
    assert read_audit(tmp_path / "audit.json") == report("mask.zero")


def test_a_reject_is_the_record_and_why(tmp_path: Path) -> None:
    record = msgspec.json.decode(b'{"b":1.50,"a":"\\u00fc"}', type=dict[str, msgspec.Raw])
    with reject_log(tmp_path / "r.jsonl", inputs=[]) as log:
        log.take_faults(Line(record, "a", 2), [Fault("text.lost", "x"), Fault("cut.answer", "y", 9.0, 8.0)])
        assert log.on_bad is not None and log.is_kept
        log.on_bad(BadLine(b"{oops\n", "a", 3, "no JSON"))
        assert log.count == 1
    first, second = (tmp_path / "r.jsonl").read_bytes().splitlines()
    assert first.startswith(b'{"b":1.50,"a":"\\u00fc","_reject":')
    why = {"stage": "finetune", "rule": "cut.answer", "value": 9.0, "threshold": 8.0, "error": "y"}
    why |= {"also": ["text.lost"], "kept": True, "file": "a", "line": 2}
    assert json.loads(first)["_reject"] == why
    assert json.loads(second)["_line"] == "{oops"


def test_without_a_file_bad_lines_are_errors_unless_passed_over(tmp_path: Path) -> None:
    with reject_log(None) as log:
        assert log.on_bad is None and not log.is_kept
    with reject_log(None, skip_bad=True) as log:
        assert log.on_bad is not None
    with (
        pytest.raises(UsageError, match="rejects and results in one place"),
        reject_log(tmp_path / "out" / "r.jsonl", out=tmp_path / "out"),
    ):
        pass
