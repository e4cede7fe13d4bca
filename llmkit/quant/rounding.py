"""One matrix rounded to a grid: to the nearest values, or with feedback of errors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.quant.descent import descended
from llmkit.quant.feedback import caught_up, feedback_codes, lost
from llmkit.quant.ggml_grids import GgmlGrid
from llmkit.quant.grid import Fitted, Grid
from llmkit.quant.moments import Moments
from llmkit.quant.workers import ALONE, Workers, pieces

_CACHED = 1 << 16
"""Numbers that a thread's cache holds beside others."""


@dataclass(frozen=True)
class RoundedMatrix:
    """A matrix on a grid.

    Shapes: R rows, C columns.
    """

    grid: Grid
    fitted: Fitted
    codes: Tensor
    """(R, C) uint8."""
    noise: float
    """Mean square of what was added over the mean square of the weights."""
    output_noise: float | None
    """The same of the matrix's outputs over the text seen; None without one."""

    def values(self) -> Tensor:
        """(R, C) float32: what readers of the file compute with."""
        return self.fitted.lattice.values(self.codes)


def round_matrix(
    weight: Tensor,
    grid: Grid,
    moments: Moments | None,
    *,
    feedback: bool = True,
    damping: float = 0.01,
    workers: Workers = ALONE,
) -> RoundedMatrix:
    """Put a matrix on a grid.

    Args:
        weight: (R, C).
        grid: which.
        moments: of its inputs; None (nothing seen): every column counts alike, and there is no feedback.
        feedback: make up for each error in the columns that follow, where the moments say how, and for what
            inputs have lost on their way here; else round to the nearest.
        damping: see `feedback_codes`.
        workers: share out the work.

    Raises:
        DataError: see `Grid.fit` and `feedback_codes`; a weight is not finite.
    """
    weight = weight.float()
    if not torch.stack(weight.aminmax()).isfinite().all():  # one pass, where isfinite of all is three
        raise DataError("a weight is not a finite number", hint="llmkit doctor MODEL names the tensors")
    seen = moments is not None and moments.count > 0 and bool(moments.absolute.any())
    importance = moments.squares if moments is not None and seen else None
    if moments is not None and seen and feedback and moments.second.dim() == 2:
        second = moments.second
        if moments.missing is not None:
            weight = caught_up(weight, second, moments.missing, damping, workers)
        fitted = grid.fit(weight, importance)
        codes = feedback_codes(weight, fitted.lattice, second, damping=damping, workers=workers)
        fitted, codes = descended(grid, weight, fitted, codes, second, damping=damping, workers=workers)
    else:
        fitted, codes = nearest(grid, weight, importance)
    values = fitted.lattice.values(codes)
    return RoundedMatrix(
        grid,
        fitted,
        codes,
        noise=_noise(weight, values, workers),
        output_noise=lost(weight, values, moments.second, workers) if moments is not None and seen else None,
    )


def nearest(grid: Grid, weight: Tensor, importance: Tensor | None = None) -> tuple[Fitted, Tensor]:
    """A grid fitted, and the codes of the nearest values, (R, C) uint8. Args and raises: see `Grid.fit`."""
    found = grid.fit_and_round(weight, importance) if isinstance(grid, GgmlGrid) else None
    if found is not None:
        return found
    fitted = grid.fit(weight, importance)
    return fitted, fitted.lattice.round(weight)


def _noise(weight: Tensor, values: Tensor, workers: Workers) -> float:
    """Mean square of what was added over that of the weights: of rows in float32, of all in float64.

    Some rows at a time: their differences stay in the cache.
    """

    def squares(rows: slice) -> Tensor:
        change = values[rows] - weight[rows]
        return torch.stack([torch.linalg.vector_norm(one, dim=1) for one in (change, weight[rows])]).square()

    parts = pieces(len(weight), max(1, _CACHED // weight.shape[1]))
    added, whole = torch.cat(workers.map(squares, parts), 1).sum(1, dtype=torch.float64).tolist()
    return float(added / max(whole, 1e-30))
