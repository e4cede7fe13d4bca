"""Counts are of what was really computed, drawn and found."""

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine
from llmkit.engine.request import Request
from llmkit.model.transformer import Transformer

FIVE = SamplingConfig(max_tokens=5, ignore_eos=True, temperature=0.0, logprobs=0)
PROMPT = tuple(range(3, 23))


def test_a_prompt_is_computed_once_and_then_found(make_model: "type[Transformer]") -> None:
    engine = Engine(make_model())  # type: ignore[call-arg]
    for _ in range(2):
        assert len(list(engine.run(Request(PROMPT, FIVE)))) == 5
    counts = engine.counts
    assert (counts.drawn_tokens, counts.cached_tokens) == (10, 16)
    assert counts.prefill_tokens == 20 + 4 and counts.computed_tokens == 24 + 2 * 4


def test_tokens_that_are_scored_are_read_and_not_drawn_and_no_guesses(
    make_model: "type[Transformer]",
) -> None:
    engine = Engine(make_model())  # type: ignore[call-arg]
    found = list(engine.run(Request(PROMPT, FIVE, scores_prompt="too")))
    assert [one.given for one in found] == [True] * 19 + [False] * 5
    counts = engine.counts
    assert (counts.drawn_tokens, counts.proposed_drafts, counts.accepted_drafts) == (5, 0, 0)
    assert counts.prefill_tokens == 20
