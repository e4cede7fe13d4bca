"""The figures tokenizers are compared by."""

from llmkit.tokens.compare import Tally, cost


def test_figures_by_hand() -> None:
    tally = Tally()
    tally.add("two wörds", 4)
    tally.add("日本", 6)
    assert (tally.documents, tally.tokens, tally.bytes, tally.words) == (2, 10, 10 + 6, 3)
    assert tally.bytes_per_token == 1.6
    assert tally.tokens_per_word == 10 / 3


def test_nothing_has_no_ratio() -> None:
    assert Tally().bytes_per_token is None
    assert Tally().tokens_per_word is None


def test_a_price_is_for_a_million_tokens() -> None:
    assert cost(2_000_000, 0.15) == 0.3
