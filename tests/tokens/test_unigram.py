"""Unigram training, against SentencePiece's own trainer and torch's digamma."""

import io
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tokenizers import models

from llmkit.tokens import unigram
from llmkit.tokens.unigram import digamma, train_unigram

LICENSE = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
MARK = "▁"


@pytest.fixture(scope="module")
def words() -> dict[str, int]:
    """The licence's words, each with SentencePiece's mark in front."""
    return dict(Counter(MARK + word for word in LICENSE.split()))


def _tokens_and_likelihood(words: dict[str, int], pieces: list[tuple[str, float]]) -> tuple[int, float]:
    """How many pieces the words are cut into by the library's model, and the log-probability of that."""
    model = models.Unigram([("<unk>", 0.0), *pieces], 0, False)
    scores = dict(pieces)
    norm = math.log(sum(map(math.exp, scores.values())))
    tokens, likelihood = 0, 0.0
    for word, count in words.items():
        cut = [token.value for token in model.tokenize(word)]
        tokens += count * len(cut)
        likelihood += count * sum(scores[piece] - norm for piece in cut)
    return tokens, likelihood


@pytest.mark.parametrize("size", [200, 500])
def test_it_explains_text_better_than_sentencepiece_in_no_more_tokens(
    words: dict[str, int], size: int
) -> None:
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(" ".join(line.split()) for line in LICENSE.split("\n")),
        model_writer=out,
        model_type="unigram",
        vocab_size=size + 1,  # and <unk>
        character_coverage=1.0,
        normalization_rule_name="identity",
        split_by_unicode_script=False,
        split_by_number=False,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    theirs = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    peer = [(theirs.id_to_piece(one), theirs.get_score(one)) for one in range(1, theirs.get_piece_size())]
    ours = train_unigram(words, size)
    assert len(ours) == len(peer) == size
    tokens, likelihood = _tokens_and_likelihood(words, ours)
    peer_tokens, peer_likelihood = _tokens_and_likelihood(words, peer)
    assert tokens <= peer_tokens
    assert likelihood > peer_likelihood


def test_the_order_of_words_changes_nothing(words: dict[str, int]) -> None:
    shuffled = list(words.items())
    random.Random(0).shuffle(shuffled)
    assert train_unigram(dict(shuffled), 300) == train_unigram(words, 300)


def test_every_character_is_a_piece_and_pieces_come_by_score_and_text(words: dict[str, int]) -> None:
    alphabet = set("".join(words))
    pieces = train_unigram(words, len(alphabet))
    assert {piece for piece, _ in pieces} == alphabet
    more = train_unigram(words, len(alphabet) + 50)
    assert alphabet <= {piece for piece, _ in more}
    assert more == sorted(more, key=lambda one: (-one[1], one[0]))
    assert sum(math.exp(score) for _, score in more) == pytest.approx(1, abs=0.02)  # digamma leaves a little


def test_there_are_as_many_pieces_as_asked_for_or_as_repeat() -> None:
    words = {"abc": 2, "abd": 1, "xy": 1}
    assert len(train_unigram(words, 7)) == 7
    everything = {piece for piece, _ in train_unigram(words, 100)}
    assert everything == {"a", "b", "c", "d", "x", "y", "ab", "bc", "abc"}
    assert train_unigram({}, 10) == []


def test_a_long_word_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unigram, "LONGEST_WORD", 4)
    assert train_unigram({"abcdabcd": 3}, 20) == train_unigram({"abcd": 6}, 20)


def test_the_listener_hears_how_many_pieces_are_left(words: dict[str, int]) -> None:
    heard: list[int] = []

    class Listener:
        def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
            assert total is not None and done <= total
            heard.append(int(str(fields["pieces"]).replace(",", "")))

        def note(self, message: str) -> None:
            raise AssertionError

    train_unigram(words, 300, progress=Listener())
    assert heard == sorted(heard, reverse=True) and heard[-1] > 300


def test_digamma_is_torchs() -> None:
    import torch

    x = np.concatenate([np.linspace(0.01, 8, 400), np.logspace(1, 9, 50)])
    theirs = torch.digamma(torch.tensor(x)).numpy()
    np.testing.assert_allclose(digamma(x), theirs, rtol=1e-11, atol=1e-11)
    assert digamma(np.array([1.0]))[0] == pytest.approx(-0.5772156649015329)  # minus Euler's constant
