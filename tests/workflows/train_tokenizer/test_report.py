"""The report's figures, by hand."""

import pytest

from llmkit.errors import GateFailed
from llmkit.tokens.compare import Tally
from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.tokens.measure import WordMeasure
from llmkit.tokens.train import train_tokenizer
from llmkit.workflows.train_tokenizer.input import Reading, SourceTotals
from llmkit.workflows.train_tokenizer.report import (
    TrainTokenizerReport,
    bytes_per_token,
    check_gate,
    longest_pieces,
    sources_of,
    unused_tokens,
)

READING = Reading({"small": SourceTotals(3, 50), "large": SourceTotals(1, 900), "unseen": SourceTotals(1, 5)})
MEASURED = {"small": Tally(tokens=20, bytes=50), "large": Tally(tokens=100, bytes=400)}


def _report(reached: float, held_out: float | None) -> TrainTokenizerReport:
    fields = dict.fromkeys(TrainTokenizerReport.__struct_fields__)
    fields |= {"out": "tok", "vocab_size": 500, "bytes_per_token": reached, "valid_bytes_per_token": held_out}
    return TrainTokenizerReport(**fields)  # type: ignore[arg-type]


def test_sources_come_by_size_with_what_was_measured_of_them() -> None:
    rows = sources_of(READING, MEASURED)
    assert [(row.source, row.documents, row.bytes, row.bytes_per_token) for row in rows] == [
        ("large", 1, 900, 4.0),
        ("small", 3, 50, 2.5),
        ("unseen", 1, 5, None),
    ]


def test_a_single_source_is_measured_by_all_its_words() -> None:
    words = WordMeasure(tokens=10, bytes=33, used=frozenset())
    (row,) = sources_of(Reading({"only": SourceTotals(1, 40)}), {}, words)
    assert row.bytes_per_token == 3.3
    assert [row.bytes_per_token for row in sources_of(READING, MEASURED, words)] == [4.0, 2.5, None]


def test_several_sources_together_weigh_by_their_tokens() -> None:
    assert bytes_per_token(MEASURED) == 450 / 120
    assert bytes_per_token({}) is None


def test_unused_pieces_are_those_learnt_that_never_occur() -> None:
    config = TrainTokenizerConfig(vocab_size=300)
    tokenizer = train_tokenizer(iter(["abcd abcd abce abce"]), config).tokenizer
    learnt = range(config.smallest_vocab, tokenizer.vocab_size)
    assert len(learnt) > 2
    assert unused_tokens(tokenizer, config, frozenset(range(config.smallest_vocab))) == len(learnt)
    assert unused_tokens(tokenizer, config, frozenset(learnt[1:])) == 1
    assert unused_tokens(tokenizer, config, frozenset(tokenizer.encode("abcd abcd abce abce"))) == sum(
        one not in tokenizer.encode("abcd abcd abce abce") for one in learnt
    )


def test_the_longest_pieces_are_no_special_tokens_and_the_earlier_of_equals() -> None:
    config = TrainTokenizerConfig(vocab_size=300, special=("<|a very long special token|>",))
    tokenizer = train_tokenizer(iter(["=" * 12 + " " + "-" * 12 + " grüße grüße"] * 3), config).tokenizer
    longest = longest_pieces(tokenizer)
    sizes = [(len(piece.hex), -piece.id) for piece in longest]
    assert sizes == sorted(sizes, reverse=True)
    assert {longest[0].text, longest[1].text} == {"=" * 12, " " + "-" * 12}


@pytest.mark.parametrize(
    ("reached", "held_out", "minimum", "passes"),
    [
        (3.0, None, None, True),
        (3.0, None, 3.0, True),
        (2.999, None, 3.0, False),
        (9.0, 2.0, 3.0, False),
        (2.0, 9.0, 3.0, True),
    ],
)
def test_the_gate_is_on_held_out_text_where_there_is_some(
    reached: float, held_out: float | None, minimum: float | None, passes: bool
) -> None:
    report = _report(reached, held_out)
    if passes:
        check_gate(report, minimum)
        return
    with pytest.raises(GateFailed, match="bytes a token on the") as caught:
        check_gate(report, minimum)
    assert "--vocab-size 1000" in caught.value.hint
