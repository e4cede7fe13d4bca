"""A part of a head's matrix as a picture: some queries and keys, weights or scores, no larger than asked for.

Shapes: T positions, R rows and C columns of the picture, n queries of a block, S keys that any of them sees.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.formats.amount_text import plural
from llmkit.probe.attention.capture import Captured
from llmkit.probe.attention.rows import frame_of, head_of, rows_of

_BLOCK_NUMBERS = 1 << 22
"""Numbers of a block of rows: 16 MiB of float32, of which a few are held at once."""


@dataclass(frozen=True)
class Region:
    """Which queries and keys: half-open ranges of positions."""

    queries: tuple[int, int]
    keys: tuple[int, int]


@dataclass(frozen=True)
class RegionMap:
    """A picture, each cell the largest number in it: thin stripes survive."""

    layer: int
    head: int
    rows: list[int]
    """(R + 1) where each row of cells begins, and the end: queries."""
    cols: list[int]
    """(C + 1) the same of keys."""
    values: Tensor
    """(R, C) float32; -inf where no query of a cell sees a key of it."""


def region_of(
    tokens: int, rows: tuple[int | None, int | None], cols: tuple[int | None, int | None]
) -> Region:
    """Ranges as Python's slices have them, in a text of so many tokens.

    Raises:
        UsageError: one of them is empty.
    """
    queries, keys = (slice(*one).indices(tokens)[:2] for one in (rows, cols))
    for name, (low, high) in (("queries", queries), ("keys", keys)):
        if low >= high:
            raise UsageError(
                f"no {name} are left of a text of {plural(tokens, 'token')}",
                hint=f"positions are 0 to {tokens - 1}",
            )
    return Region(queries, keys)


@torch.no_grad()
def region_map(
    captured: Captured,
    head: int,
    region: Region,
    most_rows: int,
    most_cols: int,
    *,
    before: bool = False,
    dtype: torch.dtype = torch.float32,
) -> RegionMap:
    """A picture of at most so many cells.

    Args:
        captured: the layer.
        head: from 0.
        region: which part of the matrix.
        most_rows: of the picture.
        most_cols: of the picture.
        before: scores before the softmax, scaled and capped; else weights.
        dtype: of the arithmetic.

    Raises:
        UsageError: no such head, or a picture of no cells.
    """
    if most_rows < 1 or most_cols < 1:
        raise UsageError(f"a map of {most_rows} x {most_cols} cells", hint="give it one row and one column")
    head = head_of(captured, head)
    (top, bottom), (left, right) = region.queries, region.keys
    R, C = min(most_rows, bottom - top), min(most_cols, right - left)
    device = captured.q.device
    out = torch.full((R, C), -torch.inf, dtype=dtype, device=device)
    step = max(1, _BLOCK_NUMBERS // captured.tokens)
    for start in range(top, bottom, step):
        queries = torch.arange(start, min(start + step, bottom), device=device)
        frame = frame_of(captured, queries)
        found = rows_of(captured, head, frame, dtype=dtype)
        values = found.scores if before else found.weights.masked_fill(found.scores.isneginf(), -torch.inf)
        low, high = max(left, frame.first), min(right, frame.keys.stop)
        if low >= high:
            continue
        seen = values[:, low - frame.first : high - frame.first]
        keys = (torch.arange(low, high, device=device) - left) * C // (right - left)
        small = torch.full((len(queries), C), -torch.inf, dtype=dtype, device=device)
        small.scatter_reduce_(1, keys.expand_as(seen), seen, "amax")
        to = (queries - top) * R // (bottom - top)
        out.scatter_reduce_(0, to[:, None].expand_as(small), small, "amax")
    return RegionMap(
        captured.layer,
        head,
        [top + one for one in bin_edges(bottom - top, R)],
        [left + one for one in bin_edges(right - left, C)],
        out,
    )


def bin_edges(tokens: int, cells: int) -> list[int]:
    """Where each of `cells` cells begins, and the end: cells differ by one token at most."""
    return [-(-one * tokens // cells) for one in range(cells + 1)]
