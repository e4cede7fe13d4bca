"""A head's whole matrix made small: exact cells of a picture, without the matrix.

Shapes: T positions, R rows and C columns of the picture, n queries of a block, S keys that any of them sees.
"""

from typing import Literal

import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.probe.attention.capture import Captured
from llmkit.probe.attention.rows import blocks, head_of, rows_of

Cell = Literal["mass", "max"]


@torch.no_grad()
def attention_map(
    captured: Captured,
    head: int,
    rows: int,
    columns: int,
    *,
    cell: Cell = "mass",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """A picture of at most rows x columns cells; no more than the text has tokens.

    Args:
        captured: the layer.
        head: from 0; a negative one counts from the end.
        rows: of the picture: queries, first at the top.
        columns: of the picture: keys.
        cell: mass is the mean over a cell's queries of the weight on its keys together, so that a row of the
            picture adds up to 1 (less the share of a learnt sink). max is the largest weight in it, which
            keeps thin stripes.
        dtype: of the arithmetic.

    Returns:
        (R, C) float64 for mass, `dtype` for max. Row r has queries `bin_edges(T, R)[r]` up to the next edge.

    Raises:
        UsageError: no such head, or no rows or columns.
    """
    if rows < 1 or columns < 1:
        raise UsageError(f"a map of {rows} x {columns} cells", hint="give it one row and one column or more")
    T, device = captured.tokens, captured.q.device
    R, C, head = min(rows, T), min(columns, T), head_of(captured, head)
    of_query, of_key = _bins(T, R, device), _bins(T, C, device)
    mass = torch.zeros(R, C, dtype=torch.float64 if cell == "mass" else dtype, device=device)
    for queries in blocks(captured):
        found = rows_of(captured, head, queries, dtype=dtype)
        keys = of_key[found.frame.keys].expand_as(found.weights)
        small = torch.zeros(len(keys), C, dtype=dtype, device=device)
        to = of_query[queries]
        if cell == "mass":
            mass.index_add_(0, to, small.scatter_add_(1, keys, found.weights).double())
        else:
            small.scatter_reduce_(1, keys, found.weights, "amax")
            mass.scatter_reduce_(0, to[:, None].expand(-1, C), small, "amax")
    return mass / torch.bincount(of_query, minlength=R)[:, None] if cell == "mass" else mass


def bin_edges(tokens: int, cells: int) -> list[int]:
    """Where each of `cells` cells begins, and the end: cells differ by one token at most."""
    return [-(-one * tokens // cells) for one in range(cells + 1)]


def _bins(tokens: int, cells: int, device: torch.device) -> Tensor:
    """(T,) the cell of each position."""
    return torch.arange(tokens, device=device) * cells // tokens
