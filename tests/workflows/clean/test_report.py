"""The report: a funnel whose steps add up to what went in and came out."""

from llmkit.text.rule import Check
from llmkit.workflows.clean.report import build_report
from llmkit.workflows.clean.tally import Count, Tally

CHECKS = (Check("first", "a", low=1), Check("second", "b", high=3), Check("third", "c"))
TALLY = Tally(
    documents=20,
    bytes=2000,
    kept=9,
    kept_bytes=800,
    written_bytes=700,
    changed=4,
    malformed=1,
    malformed_bytes=50,
    dropped={"second": Count(4, 650), "first": Count(5, 400), "unlisted": Count(1, 100)},
    edits={"z": Count(2, 20), "a": Count(1, 10)},
    edit_counts={"z": 7, "a": 1},
    values={"first": {1: 3, 5: 1}},
)


def test_each_rule_gets_what_the_ones_before_it_let_through() -> None:
    report = build_report(TALLY, CHECKS, "drop")
    assert [(row.rule, row.documents, row.dropped_documents, row.kept_documents) for row in report.rules] == [
        ("first", 19, 5, 14),
        ("second", 14, 4, 10),
        ("third", 10, 0, 10),
        ("unlisted", 10, 1, 9),
    ]
    assert [(row.bytes, row.dropped_bytes, row.kept_bytes) for row in report.rules] == [
        (1950, 400, 1550),
        (1550, 650, 900),
        (900, 0, 900),
        (900, 100, 800),
    ]
    assert report.rules[-1].kept_documents == report.kept_documents
    assert report.rules[-1].kept_bytes == report.kept_bytes
    assert report.kept_documents + report.rejected_documents == report.documents
    assert report.kept_bytes + report.rejected_bytes == report.bytes


def test_in_tag_mode_each_rule_gets_everything() -> None:
    report = build_report(TALLY, CHECKS, "tag")
    assert {row.documents for row in report.rules} == {19}


def test_bounds_values_and_edits_stand_in_their_rows() -> None:
    report = build_report(TALLY, CHECKS, "drop")
    first, second, *_ = report.rules
    assert (first.low, first.high, second.low, second.high) == (1, None, None, 3)
    assert first.values["p50"] == 1 and first.values["max"] == 5 and second.values == {}
    assert [(row.edit, row.documents, row.edits) for row in report.edits] == [("a", 1, 1), ("z", 2, 7)]
