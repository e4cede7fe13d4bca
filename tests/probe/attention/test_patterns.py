"""Patterns against TransformerLens' functions, written out as they stand there."""

import math

import pytest
import torch
from attention_by_hand import FORMS, dense, random_layer
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.probe.attention.patterns import (
    PATTERNS,
    Match,
    Measure,
    PatternBlock,
    Sums,
    induction_stripe,
    pattern_pairs,
    repeated_random_ids,
)
from llmkit.probe.attention.rows import Rows, frame_of


def previous_token_pattern(ids: Tensor) -> Tensor:
    """`get_previous_token_head_detection_pattern`."""
    pattern = torch.zeros(len(ids), len(ids), dtype=torch.float64)
    pattern[1:, :-1] = torch.eye(len(ids) - 1)
    return pattern.tril()


def duplicate_pattern(ids: Tensor) -> Tensor:
    """`get_duplicate_token_head_detection_pattern`."""
    equal = (ids[None] == ids[:, None]).double()
    equal.fill_diagonal_(0)
    return equal.tril()


def induction_pattern(ids: Tensor) -> Tensor:
    """`get_induction_head_detection_pattern`."""
    shifted = torch.roll(duplicate_pattern(ids), shifts=1, dims=1)
    return torch.cat((torch.zeros(len(ids), 1, dtype=torch.float64), shifted[:, 1:]), dim=1).tril()


def detect_head(attention: Tensor, pattern: Tensor, measure: str, bos: bool, current: bool) -> float:
    """`compute_head_attention_similarity_score`, without rounding to three decimals."""
    if measure == "mul":
        attention = attention.clone()
        if bos:
            attention[:, 0] = 0
        if current:
            attention.fill_diagonal_(0)
        return float((attention * pattern).sum() / attention.sum())
    apart = (attention - pattern).abs()
    if bos:
        apart[:, 0] = 0
    if current:
        apart.fill_diagonal_(0)
    return 1 - float(apart.mean() * len(apart))


def _ids(tokens: int = 23) -> Tensor:
    ids = torch.randint(0, 5, (tokens,), generator=torch.Generator().manual_seed(2))
    ids[3] = ids[4]  # what came after the last time is the token itself
    return ids


@pytest.mark.parametrize("cuts", [[23], [1, 10, 12], [7, 7, 9]])
def test_scores_are_those_of_detect_head(cuts: list[int]) -> None:
    ids = _ids()
    for form in FORMS:
        layer = random_layer(**form)
        _, weights, null = dense(layer, 2)
        inside, attention = [Sums()] * 3, Sums()
        for queries in torch.arange(23).split(cuts):
            frame = frame_of(layer, queries)
            part = weights[queries, frame.keys]
            block = PatternBlock(ids, frame)
            inside = [a + b for a, b in zip(inside, block.inside(part), strict=True)]
            attention += block.attention(Rows(frame, part, part, null[queries]))
        patterns = (previous_token_pattern(ids), duplicate_pattern(ids), induction_pattern(ids))
        pairs = pattern_pairs(ids)
        for at, name in enumerate(PATTERNS):
            match = Match(23, inside[at], attention, pairs[at])
            measures: tuple[Measure, ...] = ("mul", "abs")
            for measure in measures:
                for bos in (False, True):
                    for current in (False, True):
                        expected = detect_head(weights, patterns[at], measure, bos, current)
                        if math.isnan(expected):  # a window of 1 without the current token: 0 / 0
                            expected = 0.0
                        found = match.score(measure, exclude_bos=bos, exclude_current_token=current)
                        assert found == pytest.approx(expected, abs=1e-12), (name, measure, bos, current)


def test_a_head_with_no_attention_left_scores_0() -> None:
    only = Sums(1.0, 1.0, 1.0, 1.0)
    assert Match(1, only, only, only).score(exclude_bos=True) == 0.0
    assert Match(1, only, only, only).score() == 1.0


def test_the_probe_is_random_tokens_twice() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = repeated_random_ids(40, 12, generator, bos=7)
    assert ids[0] == 7 and ids[1:13].tolist() == ids[13:].tolist()
    assert len(set(ids[1:13].tolist())) == 12 and 7 not in ids[1:].tolist()
    assert len(repeated_random_ids(40, 12, generator)) == 24
    assert repeated_random_ids(5, 12, generator).max() < 5  # too few tokens to draw each once
    assert repeated_random_ids(40, 12, torch.Generator().manual_seed(0), bos=7).tolist() == ids.tolist()
    with pytest.raises(UsageError, match="1 tokens repeated"):
        repeated_random_ids(40, 1, generator)


def test_the_stripe_is_the_mean_of_a_diagonal() -> None:
    layer = random_layer(21)
    for head, found in enumerate(induction_stripe(layer, 10, dtype=torch.float64)):
        _, weights, _ = dense(layer, head)
        diagonal = weights.diagonal(offset=1 - 10)  # 12 queries, of which 10 have an earlier copy
        assert found == pytest.approx(float(diagonal[2:].mean()), abs=1e-13)
    short = random_layer(21, window=5)
    assert induction_stripe(short, 10) == [0.0] * 4  # out of its sight
    with pytest.raises(UsageError, match="does not hold 11 twice"):
        induction_stripe(layer, 11)
