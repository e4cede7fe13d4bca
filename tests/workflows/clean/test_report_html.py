"""The page: everything in it, nothing outside it, and no text of a document taken for markup."""

import re
from html.parser import HTMLParser

import pytest

from llmkit.commands.clean.text import describe_report
from llmkit.text.rule import Check
from llmkit.workflows.clean.report import build_report
from llmkit.workflows.clean.report_html import render_html
from llmkit.workflows.clean.tally import SAMPLE_LETTERS, Count, Sample, Tally
from tests.wcag import outside_of_main

CHECKS = (Check("words", "words of the text", low=50), Check("far", "far off", high=1e6))
EVIL = "<script>alert('x')</script> & <b>bold</b>"


class Reader(HTMLParser):
    """Collects tags, attributes and what stands in del, ins and pre."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.inside: dict[str, list[str]] = {"del": [], "ins": [], "pre": []}
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag in self.inside:
            self._open.append(tag)
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.inside:
            self._open.remove(tag)

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self.inside[tag][-1] += data


def page_of(tally: Tally, mode: str = "drop") -> tuple[str, Reader]:
    page = render_html(build_report(tally, CHECKS, mode), tally.values).decode()
    reader = Reader()
    reader.feed(page)
    return page, reader


def tally_with(*edits: tuple[str, str]) -> Tally:
    dropped = Sample(1, "doc-1", "a.jsonl", 12, EVIL, value=3.0, threshold=50.0)
    samples = [Sample(n, f"e{n}", "a.jsonl", n, before, after) for n, (before, after) in enumerate(edits)]
    return Tally(
        documents=1234,
        bytes=5000,
        kept=1000,
        kept_bytes=4000,
        dropped={"words": Count(234, 1000, [dropped])},
        edits={"pii email": Count(len(edits), 10, samples)} if edits else {},
        edit_counts={"pii email": len(edits)},
        values={"words": {10: 5, 60: 90, 200: 5}, "far": {1: 10, 2: 5}},
    )


def test_the_page_needs_nothing_else_and_runs_nothing() -> None:
    page, reader = page_of(tally_with(("a", "b")))
    assert reader.links == [] and "script" not in reader.tags
    assert not re.search(r"https?://|@import|url\(", page)


def test_documents_are_shown_as_text() -> None:
    _, reader = page_of(tally_with())
    assert reader.inside["pre"] == [EVIL]


def test_counts_rules_places_values_and_thresholds_can_be_read() -> None:
    page, _ = page_of(tally_with())
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    for words in (
        "1,234 documents",
        "1,000",
        "81.0% of documents",
        "words of the text",
        "≥ 50",
        "a.jsonl:12",
    ):
        assert words in text
    assert "doc-1" in text and "3 against 50" in text and "234 19.0%" in text


def test_the_page_and_the_text_have_the_same_sizes() -> None:
    tally = Tally(documents=9, bytes=1_610_000, kept=9, kept_bytes=1_610_000)
    page, _ = page_of(tally)
    assert "documents,\n1.5 MiB" in page and "MB" not in page
    assert "(1.5 MiB)" in describe_report(build_report(tally, CHECKS, "drop"))


def test_what_an_edit_took_out_and_put_in_is_marked() -> None:
    _, reader = page_of(tally_with(("write to a@b.org now", "write to <EMAIL> now")))
    assert "".join(reader.inside["del"]) == "a@b.org"
    assert "".join(reader.inside["ins"]) == "<EMAIL>"
    assert reader.inside["pre"][1:] == ["write to a@b.org now", "write to <EMAIL> now"]


def test_where_a_sample_was_cut_off_nothing_is_marked() -> None:
    words = " ".join(f"w{n}" for n in range(400))
    before, after = f"old {words}"[:SAMPLE_LETTERS], words[:SAMPLE_LETTERS]
    _, reader = page_of(tally_with((before, after)))
    assert [piece.strip() for piece in reader.inside["del"]] == ["old"] and reader.inside["ins"] == []


def test_a_histogram_shows_its_bound_unless_that_is_far_off() -> None:
    _, reader = page_of(tally_with())
    assert reader.tags.count("svg") == 2
    assert reader.tags.count("line") == 1  # 50 is among the values of words; a million is not near 1 or 2


@pytest.mark.parametrize("mode", ["drop", "tag"])
def test_an_empty_run_is_a_page_too(mode: str) -> None:
    page, _ = page_of(Tally(), mode)
    assert "0 documents" in re.sub(r"\s+", " ", page)


def test_on_paper_samples_are_whole_and_what_was_changed_keeps_its_colour() -> None:
    page, _ = page_of(tally_with())
    printed = page.split("@media print {")[1].split("</style>")[0]
    assert "pre { max-height: none; overflow: visible }" in printed
    coloured = re.search(r"\n(.*) \{ print-color-adjust: exact \}", page)
    assert coloured is not None and coloured[1].split(", ") == [".bar", ".bar i", ".share", "ins", "del"]


def test_each_line_of_a_sample_begins_at_the_side_of_its_letters() -> None:
    page, _ = page_of(tally_with())
    assert re.search(r"[} ]pre \{[^}]*unicode-bidi: plaintext", page)


def test_all_of_the_page_is_in_its_main_part_and_its_texts_are_scrolled_by_keys_too() -> None:
    page, reader = page_of(tally_with(("a", "b")))
    assert outside_of_main(page) == []
    assert page.count('<pre tabindex="0">') == reader.tags.count("pre") == 3


def test_names_of_rules_are_broken_where_a_phone_is_too_narrow_for_them() -> None:
    assert re.search(r"td code \{[^}]*overflow-wrap: anywhere", page_of(tally_with())[0])
