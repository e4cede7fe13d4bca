"""mC4's page rule by hand."""

from llmkit.text.paragraphs import C4Paragraphs
from llmkit.text.rule import apply_rules


def test_three_lines_of_two_hundred_characters_are_needed() -> None:
    long = "x" * 200
    assert apply_rules((C4Paragraphs(),), f"{long}\ny\n{long}\n{long}").verdict is None
    verdict = apply_rules((C4Paragraphs(),), f"{long}\n{long}\n{long[1:]}").verdict
    assert verdict is not None and (verdict.value, verdict.threshold) == (199, 200)
    assert apply_rules((C4Paragraphs(),), f"{long}\n{long}", every_score=True).scores == {
        "c4-paragraphs.long-lines": 0
    }
    assert apply_rules((C4Paragraphs(min_paragraphs=2),), f"{long}\n{long}").verdict is None
