"""FineWeb's rule against a literal twin."""

import pytest
from hypothesis import example, given, settings

from llmkit.text.fineweb import FinewebQuality
from llmkit.text.rule import apply_rules
from tests.text.clean_texts import TEXTS
from tests.text.peer_rules import fineweb


@settings(deadline=None)
@given(TEXTS)
@example("\n")
@example(" \n\n")
def test_every_score_is_the_twins(text: str) -> None:
    scores = apply_rules((FinewebQuality(),), text, every_score=True).scores
    assert scores == pytest.approx(
        {f"fineweb-quality.{name}": value for name, value in fineweb(text).items()}
    )


def test_the_length_of_a_short_line_is_a_setting() -> None:
    rule = FinewebQuality(short_line_characters=2)
    assert (
        apply_rules((rule,), "abc.\nab.\na.", every_score=True).scores["fineweb-quality.short-lines"] == 1 / 3
    )
