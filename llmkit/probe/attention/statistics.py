"""Figures of every head of a layer, exact, in one pass over its rows: memory in proportion to the text.

Shapes: T positions, n queries of a block, S keys that any of them sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.probe.attention.capture import Captured
from llmkit.probe.attention.config import StatisticsConfig
from llmkit.probe.attention.patterns import Match, PatternBlock, Sums, pattern_pairs
from llmkit.probe.attention.rows import frames, head_of, rows_of
from llmkit.probe.attention.totals import Totals


@dataclass(frozen=True)
class HeadStatistics:
    """One head over one text. A are its weights, i a query, j a key; means are over queries."""

    layer: int
    head: int
    tokens: int
    local_window: int
    """Of local_mass, in positions."""
    entropy: float
    """Mean of -sum_j A_ij ln A_ij, in nats. A learnt sink counts as one more thing to look at."""
    normalised_entropy: float
    """Mean over queries that see more than one key of the entropy over ln(keys seen, and the learnt sink)."""
    effective_span: float
    """Mean of exp(entropy): as many keys, looked at alike, would be as undecided."""
    mean_distance: float
    """Mean of sum_j A_ij (i - j), in tokens."""
    max_weight: float
    """Mean of max_j A_ij (confidence)."""
    bos_mass: float
    """Mean weight on the first key (Gu et al. 2024, arXiv:2410.10781)."""
    current_token: float
    """Mean weight on the query's own position."""
    local_mass: float
    """Mean weight on the last local_window keys, the query's own included."""
    null_mass: float
    """Mean share of the learnt sink; 0 for families without."""
    score_min: float
    """Of scaled and capped scores before the softmax, over all pairs seen."""
    score_max: float
    score_kurtosis: float
    """Fourth central moment over the squared variance: 3 for a normal distribution, nan if all are equal."""
    weighted_distance: float | None
    """Mean distance with A_ij ||v_j W_O|| in place of A_ij, over its sum; None where it was not asked for."""
    weighted_bos_mass: float | None
    """Share of the first key in the sum of A_ij ||v_j W_O||."""
    previous: Match
    duplicate: Match
    induction: Match


@torch.no_grad()
def head_statistics(
    captured: Captured,
    ids: Tensor,
    *,
    heads: Sequence[int] | None = None,
    config: StatisticsConfig | None = None,
    dtype: torch.dtype = torch.float32,
) -> list[HeadStatistics]:
    """Figures of a layer's heads.

    Every row is written out once, a block of them at a time, and summed up in float64: against the whole
    matrix in float64, figures are the same to 1e-11 with dtype float64, and to about 1e-5 with float32.

    Args:
        captured: the layer.
        ids: (T,) of the text.
        heads: which; None for all.
        config: what is near, and whether values count.
        dtype: of scores and weights.

    Raises:
        UsageError: no such head, or ids that are not the captured text's.
    """
    if len(ids) != captured.tokens:
        raise UsageError(
            f"{len(ids)} ids for {captured.tokens} captured tokens", hint="give the ids that the model read"
        )
    settings = config or StatisticsConfig()
    chosen = [head_of(captured, one) for one in (range(captured.heads) if heads is None else heads)]
    totals = {head: Totals(captured, head, settings, dtype) for head in chosen}
    ids = ids.to(captured.q.device)
    for frame in frames(captured):
        patterns = PatternBlock(ids, frame)
        for head, total in totals.items():
            total.add(rows_of(captured, head, frame, dtype=dtype), patterns)
    pairs = pattern_pairs(ids)
    return [_figures(captured, totals[head], pairs) for head in chosen]


def _figures(captured: Captured, totals: Totals, pairs: Sequence[Sums]) -> HeadStatistics:
    """pairs: of each pattern, in the whole text."""
    T = captured.tokens
    alone = -(-T // (captured.window.size or T)) if captured.window.chunked else 1  # see themselves only
    several = T if captured.sinks is not None else T - alone  # queries that have a choice
    if captured.window.size == 1 and captured.sinks is None:
        several = 0
    sums, weighted = totals.sums.tolist(), totals.weighted.tolist()
    previous, duplicate, induction = (
        Match(T, inside, totals.attention, count) for inside, count in zip(totals.inside, pairs, strict=True)
    )
    share = [one / weighted[0] for one in weighted] if weighted[0] else None
    return HeadStatistics(
        layer=captured.layer,
        head=totals.head,
        tokens=T,
        local_window=totals.local_window,
        entropy=sums[0] / T,
        normalised_entropy=sums[1] / several if several else 0.0,
        effective_span=sums[2] / T,
        mean_distance=sums[3] / T,
        max_weight=sums[4] / T,
        bos_mass=totals.attention.bos / T,
        current_token=totals.attention.current / T,
        local_mass=sums[5] / T,
        null_mass=sums[6] / T,
        score_min=totals.low,
        score_max=totals.high,
        score_kurtosis=totals.moments.kurtosis,
        weighted_distance=None if share is None else share[1],
        weighted_bos_mass=None if share is None else share[2],
        previous=previous,
        duplicate=duplicate,
        induction=induction,
    )
