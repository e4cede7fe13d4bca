"""Sums over the rows of one head, block after block: what its figures are made of.

Shapes: T positions, n queries of a block, S keys that any of them sees.
"""

import math

import torch
from torch import Tensor

from llmkit.probe.attention.capture import Captured
from llmkit.probe.attention.config import StatisticsConfig
from llmkit.probe.attention.moments import Moments, add_moments, moments_about
from llmkit.probe.attention.patterns import PATTERNS, PatternBlock, Sums
from llmkit.probe.attention.rows import Frame, Rows, value_norms


class Totals:
    """Sums of one head over the blocks so far, in float64; A are weights, i a query, j a key.

    Attributes:
        head: its number.
        local_window: keys that count as near.
        sums: over queries, of entropy, normalised entropy, exp(entropy), sum_j A_ij (i - j), max_j A_ij,
            weight on near keys, and share of the learnt sink.
        weighted: over pairs, of A_ij ||v_j W_O||, of that times i - j, and of that on the first key; 0 where
            values are left alone.
        low, high, moments: of scores before the softmax.
        inside, attention: of A in each pattern, and everywhere.
    """

    def __init__(self, captured: Captured, head: int, config: StatisticsConfig, dtype: torch.dtype) -> None:
        """
        Args:
            captured: the layer.
            head: from 0.
            config: what is near, and whether values count.
            dtype: of the rows that will be added.
        """
        device = captured.q.device
        self.head, self.local_window = head, config.local_window
        self.sums = torch.zeros(7, dtype=torch.float64, device=device)
        self.weighted = torch.zeros(3, dtype=torch.float64, device=device)
        self.low, self.high = math.inf, -math.inf
        self.moments = Moments()
        self.inside, self.attention = [Sums()] * len(PATTERNS), Sums()
        self._norms = value_norms(captured, head, dtype=dtype) if config.by_value_norm else None
        self._has_sink = captured.sinks is not None

    def add(self, rows: Rows, patterns: PatternBlock) -> None:
        """A block of queries that stand next to each other, after those before."""
        frame, weights = rows.frame, rows.weights
        own = (frame.queries - frame.first)[:, None]
        highest, peak = weights.amax(dim=-1), rows.scores.amax(dim=-1)
        below = frame.hide_(rows.scores - peak[:, None], 0.0)
        # ln A_ij = below_ij + ln of the row's largest: nothing large cancels
        keys = -(weights * below).sum(dim=-1) - highest.log() * (1 - rows.null)
        entropy = keys + torch.special.entr(rows.null)
        outcomes = frame.seen + self._has_sink
        near = own - torch.arange(self.local_window, device=own.device)
        local = weights.gather(1, near.clamp(min=0)) * (near >= 0)
        figures = (
            entropy,
            torch.where(outcomes > 1, entropy / outcomes.clamp(min=2).to(entropy.dtype).log(), 0.0),
            entropy.exp(),
            self._distances(rows),
            highest,
            local.sum(dim=-1),
            rows.null,
        )
        self.sums += torch.stack(figures).sum(dim=1, dtype=torch.float64)
        self._add_scores(frame, peak, below)
        self.inside = [a + b for a, b in zip(self.inside, patterns.inside(weights), strict=True)]
        self.attention += patterns.attention(rows)

    def _distances(self, rows: Rows) -> Tensor:
        """(n,) sum_j A_ij (i - j); with values, their sums are added up too."""
        frame, weights, last = rows.frame, rows.weights, rows.frame.keys.stop - 1
        # from the last query of the block, then from each: blocks are low, so that little cancels
        away = torch.arange(last - frame.first, -1, -1, dtype=weights.dtype, device=weights.device)
        beyond = (last - frame.queries).to(weights.dtype)
        columns = [torch.ones_like(away), away]
        if self._norms is not None:
            norms = self._norms[frame.keys]
            columns += [norms, norms * away]
        found = weights @ torch.stack(columns, dim=1)  # (n, 2 or 4)
        if self._norms is not None:
            bos = weights[:, 0] * norms[0] if frame.first == 0 else weights.new_zeros(1)
            parts = (found[:, 2], found[:, 3] - beyond * found[:, 2], bos)
            self.weighted += torch.stack([one.sum(dtype=torch.float64) for one in parts])
        return found[:, 1] - beyond * found[:, 0]

    def _add_scores(self, frame: Frame, peak: Tensor, below: Tensor) -> None:
        """below: (n, S) scores - peak, 0 where a key is not seen; it is given up."""
        # a mean of some of the numbers is between the least and the greatest, and near the mean of all
        centre = self.moments.mean if self.moments.count else float(peak.double().mean())
        apart = frame.hide_(below.add_((peak - centre)[:, None]), 0.0)
        self.low = min(self.low, centre + float(apart.amin()))
        self.high = max(self.high, float(peak.max()))
        self.moments = add_moments(self.moments, moments_about(centre, apart, int(frame.seen.sum())))
