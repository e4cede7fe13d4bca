"""The report of a mixture in words."""

from llmkit.commands.mix.text import describe_report
from tests.workflows.mix.test_report import facts, report


def test_a_row_for_each_source_and_each_licence() -> None:
    text = describe_report(report(facts("web", refused_documents=1_200), facts("wiki", is_dry=True)))
    assert text.splitlines() == [
        "documents  10 written, 120 B of text in 2 parts",
        "bytes      100 B of 100 B wanted",
        "",
        "source   share     got  wanted  achieved  epochs  documents  of  refused",
        "web     50.00%  50.00%    50 B      50 B    0.50          5  10    1,200",
        "wiki    50.00%  50.00%    50 B      50 B    0.50          5  10        0  ran dry",
        "",
        "licence    share  documents  sources",
        "MIT      100.00%         10  web, wiki",
    ]


def test_what_says_nothing_is_left_out() -> None:
    text = describe_report(report(facts("web", licences={"unknown": [5, 50]}), by="tokens"))
    assert "refused" not in text and "licence" not in text and "tokens     50 of 50 wanted" in text
    many = {f"L{number:02d}": [1, 50 - number] for number in range(14)}
    assert "2 others" in describe_report(report(facts("web", licences=many), by="documents"))
