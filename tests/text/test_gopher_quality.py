"""Quality against a literal twin; the other readings by hand."""

import pytest
from hypothesis import given, settings

from llmkit.text.features import Features
from llmkit.text.gopher_quality import GopherQuality
from llmkit.text.rule import apply_rules
from tests.text.clean_texts import TEXTS
from tests.text.peer_rules import quality


@settings(deadline=None)
@given(TEXTS)
def test_every_score_is_the_twins(text: str) -> None:
    scores = apply_rules((GopherQuality(),), text, every_score=True).scores
    assert scores == pytest.approx({f"gopher-quality.{name}": value for name, value in quality(text).items()})


@settings(deadline=None)
@given(TEXTS)
def test_a_quick_pass_is_never_wrong(text: str) -> None:
    document = Features(text)
    for one in GopherQuality(max_bullet_lines=0.4, max_ellipsis_lines=0.2).measured:
        if one.passes is not None and one.passes(document):
            assert one.check.broken_by(one.exact(document)) is None


def score(variant: str, check: str, text: str) -> float:
    rule = GopherQuality(variant=variant)  # type: ignore[arg-type]
    return rule.judge(Features(text), every_score=True).scores[f"gopher-quality.{check}"]


def test_dolma_takes_the_median_and_its_own_bullets_and_ellipses() -> None:
    assert score("dolma", "median-word-length", "a bb cccccc") == 2
    assert score("datatrove", "mean-word-length", "a bb cccccc") == 3
    assert score("dolma", "bullet-lines", "* a\n• b") == 0.5 == score("datatrove", "bullet-lines", "- a\n* b")
    assert score("dolma", "ellipsis-lines", "a...\nb…") == 0.5


def test_dclm_counts_a_stop_word_each_time_and_spaced_ellipses() -> None:
    assert score("dclm", "stop-words", "the the the") == 3
    assert score("datatrove", "stop-words", "the the the") == 1
    assert score("dclm", "ellipsis-lines", "a . . .\nb") == 0.5
