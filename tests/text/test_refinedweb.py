"""RefinedWeb's line rules by hand."""

import pytest

from llmkit.text.refinedweb import RefinedwebLines
from llmkit.text.rule import apply_rules

PROSE = "\n".join(f"Here is one more line of plain prose with number {number}." for number in range(9))


@pytest.mark.parametrize(
    ("line", "edit"),
    [
        ("3,400 12.5", "numeric"),
        ("3 likes", "counter"),
        ("1.2K followers", "counter"),
        ("Menu", "few-words"),
        ("BUY NOW AND SAVE", "uppercase"),
    ],
)
def test_a_line_of_interface_goes(line: str, edit: str) -> None:
    outcome = apply_rules((RefinedwebLines(),), f"{PROSE}\n{line}")
    assert (outcome.text, outcome.edits) == (PROSE, {f"refinedweb-lines.{edit}": 1})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Sign-in to your page", "to your page"),
        ("The story goes on Read more...", "The story goes on"),
        ("3 items in cart today", "3 today"),
        ("Sign-in is what this long line talks about and it is left alone", None),
    ],
)
def test_short_lines_lose_what_is_interface_in_them(before: str, after: str | None) -> None:
    outcome = apply_rules((RefinedwebLines(),), f"{PROSE}\n{before}")
    assert outcome.text.split("\n")[-1] == (after or before)


def test_a_page_that_loses_a_twentieth_of_its_words_is_dropped() -> None:
    rule = RefinedwebLines()
    assert apply_rules((rule,), f"{PROSE}\n" + "MENU HOME\n" * 2).verdict is None  # 4 words of 103
    verdict = apply_rules((rule,), f"{PROSE}\n" + "MENU HOME\n" * 3).verdict  # 6 of 105
    assert verdict is not None and verdict.value == 6 / 105 and verdict.threshold == 0.05
    assert apply_rules((RefinedwebLines(max_removed_words=None),), "MENU HOME\n" * 9).text == ""


def test_gaps_of_more_than_one_blank_line_close() -> None:
    assert apply_rules((RefinedwebLines(),), "Two words.\n\n\n\nTwo more.").text == "Two words.\n\nTwo more."


def test_each_line_rule_can_be_switched_off() -> None:
    rule = RefinedwebLines(numeric=False, counters=False, min_words_per_line=None, max_uppercase=None)
    text = "3,400 12.5\n3 likes\nMenu\nBUY NOW"
    assert apply_rules((rule,), text).text == text
    kept = RefinedwebLines(interface_words=0)
    assert apply_rules((kept,), "Sign-in to your page").text == "Sign-in to your page"
