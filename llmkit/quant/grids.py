"""All grids, by the names that people type."""

import re

import torch

from llmkit.errors import UsageError, nearest
from llmkit.quant.fp8_grid import Fp8Grid
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.grid import Grid
from llmkit.quant.int_grids import AffineGrid, IntGrid

_INT = re.compile(r"int(?P<bits>[2-8])(?:-g(?P<group>[1-9]\d*))?(?P<asym>-asym)?")
_MLX = re.compile(r"mlx-(?P<bits>[234568])bit-g(?P<group>32|64|128)")
_FP8 = "fp8-channel"
EXAMPLES = ("int8", "int4-g128", "int4-g32-asym", "mlx-4bit-g64", _FP8)
"""Names to type beside ggml's; other bits (2 to 8) and groups are understood too."""


def grid_named(name: str, scale_dtype: torch.dtype = torch.bfloat16, *, zero_low: int = 0) -> Grid:
    """The grid of a name, in capitals or not.

    Args:
        name: Q4_K and ggml's others; int2 to int8 with `-g128` or any group, `-asym` for zero points;
            mlx-4bit-g64; fp8-channel.
        scale_dtype: what files keep steps in; ggml's own where the name is one of its.
        zero_low: see `IntGrid`.

    Raises:
        UsageError: no such grid.
    """
    if name.upper() in GGML_GRIDS:
        return GGML_GRIDS[name.upper()]
    text = name.lower()
    if found := _INT.fullmatch(text):
        group = int(found["group"] or 0)
        return IntGrid(int(found["bits"]), group, not found["asym"], scale_dtype, zero_low)
    if found := _MLX.fullmatch(text):
        return AffineGrid(int(found["bits"]), int(found["group"]), scale_dtype)
    if text == _FP8:
        return Fp8Grid(scale_dtype)
    known = (*GGML_GRIDS, *EXAMPLES)
    close = nearest(text, tuple(one.lower() for one in known))
    raise UsageError(
        f"no grid is called {name!r} (known: {', '.join(known)})",
        hint=f"did you mean {close}?" if close else "int2 to int8 take any group: int3-g64",
    )
