"""The strongest pairs of query and key: what is worth keeping of a matrix that is not."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from llmkit.errors import UsageError
from llmkit.probe.attention.capture import Captured
from llmkit.probe.attention.rows import BLOCK_NUMBERS, Queries, blocks, head_of, positions_of, rows_of


@dataclass(frozen=True)
class Edge:
    """One query looking at one key."""

    layer: int
    head: int
    query: int
    """Position in the text, from 0."""
    key: int
    weight: float
    """After the softmax."""
    score: float
    """Before it, scaled and capped."""


@torch.no_grad()
def top_edges(
    captured: Captured,
    head: int,
    k: int,
    queries: Queries = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Edge]:
    """The k keys that each query looks at most, strongest first, query by query.

    Of equals the earlier key comes first; where more are equal than there is room for, any of them are kept.

    Args:
        captured: the layer.
        head: from 0; a negative one counts from the end.
        k: at most so many keys a query, of those it sees.
        queries: which, in the order given; None for all.

    Raises:
        UsageError: k is below 1, or no such head or query.
    """
    if k < 1:
        raise UsageError(f"cannot keep the {k} strongest keys", hint="keep 1 or more")
    head, chosen = head_of(captured, head), positions_of(captured, queries)
    every = blocks(captured) if queries is None else chosen.split(max(1, BLOCK_NUMBERS // captured.tokens))
    for run in every:
        if not len(run):
            continue
        rows = rows_of(captured, head, run, dtype=dtype)
        weights, columns = rows.weights.topk(min(k, rows.weights.shape[1]), dim=-1)
        scores = rows.scores.gather(1, columns)
        kept = torch.isfinite(scores)
        columns_of = (weights.tolist(), columns.tolist(), scores.tolist(), kept.tolist())
        for query, *row in zip(run.tolist(), *columns_of, strict=True):
            found = sorted(zip(*row, strict=True), key=lambda one: (-one[0], one[1]))
            for weight, column, score, seen in found:
                if seen:
                    yield Edge(captured.layer, head, query, rows.first + column, weight, score)
