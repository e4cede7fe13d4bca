"""Repairs: what they change, what they say of it, and that they let go of what they hold."""

import json
from typing import Any

import pytest

from llmkit.workflows.clean.input import Entry
from llmkit.workflows.clean.item import HeadReader, Item, keep_line
from llmkit.workflows.clean.repairs import REPAIRS, PersonalData, Repair, TakeText

PAGE = (
    "<html><head><title>A &amp; B</title></head><body><p>One paragraph of the page, which is long "
    "enough to be its content, says something.</p></body></html>"
)


def item_of(**record: Any) -> Item:
    line = json.dumps({"id": "x", **record}).encode()
    return HeadReader("text", takes_html=True).read(Entry(line, "a", 1, page=(200, "text/html")))


def test_text_is_taken_out_of_html_with_the_title_and_the_method() -> None:
    pytest.importorskip("resiliparse")
    take = TakeText("fast", 10)
    try:
        item = item_of(html=PAGE)
        assert take(item, every_score=False) == ()
        assert item.text is not None and item.text.startswith("One paragraph") and "<" not in item.text
        assert item.facts == {"title": "A & B"} and item.chosen == {"extract": "fast"}
        titled = item_of(html=PAGE, metadata={"title": "mine"})
        take(titled, every_score=False)
        assert titled.facts == {}
        (empty,) = take(item_of(html="<p></p>"), every_score=False)
        assert empty.rule == "extract empty"
        text = item_of(text="plain", html=PAGE)
        assert take(text, every_score=False) == () and text.text == "plain"
    finally:
        take.close()


def test_a_page_that_takes_too_long_costs_itself_alone() -> None:
    pytest.importorskip("resiliparse")
    take = TakeText("fast", 0.3)
    try:
        (verdict,) = take(item_of(html="<div>" * 3_000_000), every_score=False)
        assert verdict.rule in ("extract timeout", "extract crash")
        item = item_of(html=PAGE)
        assert take(item, every_score=False) == () and item.text
    finally:
        take.close()


def test_none_keeps_the_markup_as_the_text() -> None:
    item = item_of(html=PAGE)
    assert TakeText("none", 10)(item, every_score=False) == () and item.text == PAGE


def test_a_response_without_any_content_is_empty() -> None:
    (verdict,) = TakeText("none", 10)(item_of(), every_score=False)
    assert verdict.rule == "extract empty"


def test_broken_encodings_are_repaired_and_counted() -> None:
    pytest.importorskip("ftfy")
    item = item_of(text="cafÃ© au lait\r\nand\x00 more")
    for name in REPAIRS:
        assert Repair(name)(item, every_score=False) == ()
    assert item.text == "café au lait\nand more" and item.edits == {"mojibake": 1, "normalise": 2}
    sound = item_of(text="café")
    Repair("mojibake")(sound, every_score=False)
    Repair("normalise")(sound, every_score=False)
    assert sound.edits == {} and not sound.is_changed


def test_personal_data_is_masked_tagged_or_a_reason_to_drop() -> None:
    text = "Write to jane.roe@example.org or john@example.com."
    item = item_of(text=text)
    assert PersonalData("mask")(item, every_score=False) == ()
    assert item.text == "Write to <EMAIL> or <EMAIL>." and item.edits == {"pii email": 2}
    item = item_of(text=text)
    assert PersonalData("tag")(item, every_score=False) == () and item.text == text
    spans = json.loads(keep_line(item, None))["attributes"]["pii"]
    assert [(text[start:end], kind) for start, end, kind in spans] == [
        ("jane.roe@example.org", "email"),
        ("john@example.com", "email"),
    ]
    (verdict,) = PersonalData("drop")(item_of(text=text), every_score=False)
    assert (verdict.rule, verdict.value, verdict.threshold) == ("pii", "email:2", 0)
    assert [check.name for check in PersonalData("drop").checks] == ["pii"]
    assert PersonalData("mask").checks == ()
    assert PersonalData("drop")(item_of(text="x"), every_score=False) == ()
