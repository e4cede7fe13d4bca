"""What running rules over a document gives."""

import pytest
from hypothesis import given, settings

from llmkit.text.c4 import C4
from llmkit.text.gopher_quality import GopherQuality
from llmkit.text.presets import preset
from llmkit.text.rule import Check, Verdict, apply_rules, checks_of
from tests.text.clean_texts import TEXTS

PAGE = "The cat sat on the mat. It was warm there. The dog came to see it. They sat. They slept long."


def test_bounds_keep_the_value_that_stands_on_them() -> None:
    check = Check("a.b", "x", low=2, high=3)
    assert [check.broken_by(value) for value in (1, 2, 3, 4)] == [2, None, None, 3]


def test_the_first_rule_that_fails_is_the_verdict_and_the_rest_is_not_looked_at() -> None:
    outcome = apply_rules((GopherQuality(), C4(min_sentences=99)), PAGE)
    assert outcome.verdict == Verdict("gopher-quality.words", 21.0, 50)
    assert outcome.scores == {"gopher-quality.words": 21.0}
    assert outcome.text == PAGE


def test_every_score_goes_on_behind_a_verdict_and_keeps_the_first() -> None:
    rules = (GopherQuality(), C4(min_sentences=99))
    outcome = apply_rules(rules, PAGE, every_score=True)
    assert outcome.verdict == Verdict("gopher-quality.words", 21.0, 50)
    assert tuple(outcome.scores) == tuple(checks_of(rules))
    assert outcome.scores["c4.sentences"] == 5


def test_a_rule_sees_what_the_one_before_left() -> None:
    page = PAGE.replace(". ", ".\n") + "\nno stop here at all"
    outcome = apply_rules((C4(min_sentences=2), GopherQuality(min_words=None)), page, every_score=True)
    assert outcome.edits == {"c4.no-end-mark": 1, "c4.few-words": 1}
    assert "no stop" not in outcome.text and "They sat." not in outcome.text
    assert outcome.scores["gopher-quality.words"] == 19  # of 26


def test_a_document_that_is_dropped_keeps_its_text() -> None:
    page = "no stop here at all\n" + PAGE
    outcome = apply_rules((C4(min_sentences=99),), page)
    assert outcome.verdict is not None and outcome.text == page and outcome.edits == {}


@pytest.mark.parametrize("name", ["fineweb", "c4", "refinedweb", "ocr", "markup", "code", "boilerplate"])
@settings(deadline=None)
@given(TEXTS)
def test_the_quick_way_decides_as_the_one_that_measures_everything(name: str, text: str) -> None:
    quick, full = apply_rules(preset(name), text), apply_rules(preset(name), text, every_score=True)
    if full.verdict is None:
        assert quick.verdict is None
        assert (quick.text, quick.edits) == (full.text, full.edits)
    else:
        assert quick.verdict is not None and quick.verdict.rule == full.verdict.rule
