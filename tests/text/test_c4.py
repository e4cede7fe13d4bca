"""C4 line by line against a literal twin, in both readings; each switch by hand."""

from typing import Any

import pytest
from hypothesis import given, settings

from llmkit.text.c4 import C4, C4Tfds
from llmkit.text.rule import apply_rules
from tests.text.clean_texts import TEXTS
from tests.text.peer_rules import c4

GOOD = "\n".join(f"This is the line number {number} of it." for number in range(6))
WAYS = {
    "datatrove": (C4(), {}),
    "fineweb": (C4(end_marks=False), {"end_marks": False}),
    "tfds": (C4Tfds(), {"tfds": True}),
}


@pytest.mark.parametrize("way", WAYS)
@settings(deadline=None)
@given(TEXTS)
def test_the_verdict_and_the_text_left_are_the_twins(way: str, text: str) -> None:
    rule, settings = WAYS[way]
    reason, left = c4(text, **settings)
    outcome = apply_rules((rule,), text)
    assert (outcome.verdict.rule.split(".")[1] if outcome.verdict else None) == reason
    assert outcome.text == left


@pytest.mark.parametrize(
    ("line", "edit", "switch"),
    [
        ("no stop on this line", "no-end-mark", {"end_marks": False}),
        ("too short.", "few-words", {"min_words_per_line": None}),
        ("x" * 1001 + " is a word.", "long-word", {"max_word_length": None}),
        ("Please enable JavaScript now.", "javascript", {"javascript": False}),
        ("We have a privacy policy here.", "policy", {"policy": False}),
    ],
)
def test_a_line_goes_unless_its_rule_is_off(line: str, edit: str, switch: dict[str, Any]) -> None:
    text = f"{GOOD}\n{line}"
    outcome = apply_rules((C4(),), text)
    assert (outcome.text, outcome.edits) == (GOOD, {f"c4.{edit}": 1})
    assert apply_rules((C4(**switch),), text).text == text


@pytest.mark.parametrize(
    ("line", "check", "switch"),
    [
        ("It has a { in it.", "curly-bracket", "curly_bracket"),
        ("The Lorem ipsum is.", "lorem-ipsum", "lorem_ipsum"),
    ],
)
def test_a_page_goes_for_one_line_unless_the_line_would_have_gone(line: str, check: str, switch: str) -> None:
    verdict = apply_rules((C4(),), f"{GOOD}\n{line}").verdict
    assert verdict is not None and verdict.rule == f"c4.{check}"
    assert apply_rules((C4(**{switch: False}),), f"{GOOD}\n{line}").verdict is None
    assert apply_rules((C4(),), f"{GOOD}\n{line.removesuffix('.')}").verdict is None


def test_citations_are_taken_out_and_counted_by_line() -> None:
    outcome = apply_rules((C4(),), GOOD.replace("it.", "it[1][citation needed]."))
    assert (outcome.text, outcome.edits) == (GOOD, {"c4.citations": 6})
    assert apply_rules((C4(citations=False),), GOOD + "\nA line[1] that stays.").edits == {}
