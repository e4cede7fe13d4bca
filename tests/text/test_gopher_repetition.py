"""Repetition against a literal twin; the other readings by hand."""

import pytest
from hypothesis import given, settings

from llmkit.text.features import Features
from llmkit.text.gopher_repetition import GopherRepetition
from llmkit.text.rule import apply_rules
from tests.text.clean_texts import TEXTS
from tests.text.peer_rules import repetition

LINES = "ab cd\nab cd\nef\n"


@settings(deadline=None)
@given(TEXTS)
def test_every_score_is_the_twins(text: str) -> None:
    scores = apply_rules((GopherRepetition(),), text, every_score=True).scores
    assert scores == pytest.approx(
        {f"gopher-repetition.{name}": value for name, value in repetition(text).items()}
    )


@settings(deadline=None)
@given(TEXTS)
def test_the_quick_way_drops_what_the_twin_drops_and_says_which_check(text: str) -> None:
    limits = {check.name: check for check in GopherRepetition().checks}
    expected = next(
        (
            f"gopher-repetition.{name}"
            for name, value in repetition(text).items()
            if limits[f"gopher-repetition.{name}"].broken_by(value) is not None
        ),
        None,
    )
    verdict = apply_rules((GopherRepetition(),), text).verdict
    assert (verdict.rule if verdict else None) == expected


def scores_of(variant: str, text: str) -> dict[str, float]:
    rule = GopherRepetition(variant=variant)  # type: ignore[arg-type]
    found = rule.judge(Features(text), every_score=True).scores
    return {name.split(".")[1]: value for name, value in found.items()}


def test_datamap_rs_and_dolma_count_the_first_line_of_equals_too() -> None:
    assert (
        scores_of("datatrove", LINES)["duplicate-lines"] == 1 / 4
    )  # the empty one behind the last newline counts
    assert scores_of("datamap-rs", LINES)["duplicate-lines"] == 2 / 3
    assert scores_of("datamap-rs", LINES)["duplicate-line-characters"] == 10 / 12
    assert scores_of("dolma", LINES)["duplicate-line-characters"] == 10 / 12
    assert scores_of("curator", LINES)["duplicate-line-characters"] == 5 / len(LINES)


def test_the_readings_differ_on_repeated_grams_as_their_definitions_do() -> None:
    text = "a b c d e f a b c d e g"  # one 5-gram twice; 12 letters, 23 characters, 8 5-grams of 5 letters
    assert scores_of("datatrove", text)["duplicate-5-grams"] == 5 / 23
    assert scores_of("datamap-rs", text)["duplicate-5-grams"] == 10 / 12
    assert scores_of("curator", text)["duplicate-5-grams"] == (5 + 5) / 23
    assert scores_of("dolma", text)["duplicate-5-grams"] == 10 / 40


def test_the_commonest_gram_is_shared_over_what_the_reading_says() -> None:
    text = "ab c ab c d"
    assert scores_of("datatrove", text)["top-2-gram"] == 2 * len("ab c") / len(text)
    assert scores_of("datamap-rs", text)["top-2-gram"] == 2 * 3 / 7
    assert scores_of("dolma", text)["top-2-gram"] == 2 * 3 / (3 + 3 + 3 + 2)


def test_no_limit_takes_a_check_out() -> None:
    names = [check.name for check in GopherRepetition(max_top_2_gram=None).checks]
    assert "gopher-repetition.top-2-gram" not in names and "gopher-repetition.top-3-gram" in names
