"""Two models read one text: which heads moved, and how far.

Shapes: n queries of a block, S keys that any of them sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.probe.attention.capture import Captured
from llmkit.probe.attention.heads import class_scores
from llmkit.probe.attention.rows import Frame, Rows, frame_of, frames, rows_of
from llmkit.probe.attention.statistics import HeadStatistics


@dataclass(frozen=True)
class HeadDifference:
    """One head of the other model less the same head of the first; `js` has no sign."""

    layer: int
    head: int
    js: float
    """Mean over queries of the Jensen-Shannon divergence of the two rows, in nats: 0 for one row, ln 2 for
    two that look at nothing in common. A learnt sink counts as one more thing to look at."""
    entropy: float
    """Change of the mean entropy, in nats."""
    sink: float
    """Change of the mean weight on the first key."""
    induction: float
    """Change of the induction score: of the stripe where it was measured, else of the text's own repeats."""


@torch.no_grad()
def head_divergences(first: Captured, other: Captured, heads: Sequence[int]) -> list[float]:
    """`HeadDifference.js` of some heads of a layer.

    Raises:
        DataError: the two layers do not have the same heads and tokens.
    """
    check_alike(first, other)
    sums = dict.fromkeys(heads, 0.0)
    for mine in frames(first):
        theirs = frame_of(other, mine.queries)
        low = min(mine.first, theirs.first)
        for head in heads:
            p = _padded(mine, rows_of(first, head, mine), low)
            q = _padded(theirs, rows_of(other, head, theirs), low)
            sums[head] += float(_divergence(p, q).sum(dtype=torch.float64))
    return [max(0.0, sums[head] / first.tokens) for head in heads]


def head_difference(
    first: HeadStatistics,
    other: HeadStatistics,
    js: float,
    *,
    stripes: tuple[float, float] | None = None,
) -> HeadDifference:
    """Figures of one head side by side.

    Args:
        first: of the first model.
        other: of the other one, same layer, head and text.
        js: see `head_divergences`.
        stripes: induction stripes of both, where the text is the probe.
    """
    mine, theirs = stripes or (None, None)
    return HeadDifference(
        layer=first.layer,
        head=first.head,
        js=js,
        entropy=other.entropy - first.entropy,
        sink=other.bos_mass - first.bos_mass,
        induction=class_scores(other, stripe=theirs)["induction"]
        - class_scores(first, stripe=mine)["induction"],
    )


def check_alike(first: Captured, other: Captured) -> None:
    """Refuse layers that cannot be held side by side.

    Raises:
        DataError: the two do not have the same heads and tokens.
    """
    if (first.layer, first.heads, first.tokens) != (other.layer, other.heads, other.tokens):
        raise DataError(
            f"layer {first.layer}: {first.heads} heads over {first.tokens} tokens, "
            f"against {other.heads} over {other.tokens}",
            hint="compare two models of one shape",
        )


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    """(n,) of each pair of rows, (n, S + 1)."""
    middle = (p + q) / 2
    entropies = [torch.special.entr(part).sum(-1, dtype=torch.float64) for part in (middle, p, q)]
    return entropies[0] - (entropies[1] + entropies[2]) / 2


def _padded(frame: Frame, rows: Rows, low: int) -> Tensor:
    """(n, S + 1) from key `low` on, and the null share."""
    left = rows.weights.new_zeros(len(rows.weights), frame.first - low)
    return torch.cat((left, rows.weights, rows.null[:, None]), dim=-1)
