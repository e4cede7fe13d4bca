"""One matrix rounded to a grid: to the nearest values, or with feedback of errors."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.quant.descent import descended
from llmkit.quant.feedback import caught_up, feedback_codes, lost
from llmkit.quant.ggml_grids import GgmlGrid
from llmkit.quant.grid import Fitted, Grid
from llmkit.quant.moments import Moments
from llmkit.quant.workers import ALONE, Workers, pieces

_AT_ONCE = 1 << 25
"""Numbers of a matrix that are rounded together: what that takes beside them is several times as much."""
_ROWS = 512
"""A multiple of what feedback and descent cut rows into, so that every piece is the same."""
_LEAST = 1e-30
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
    order: Tensor | None = None
    """(C,) of each column of the codes the one of the matrix; None: they are the same."""

    def values(self) -> Tensor:
        """(R, C) float32: what readers of the file compute with, the columns where the model has them."""
        return in_place(self.fitted.lattice.values(self.codes), self.order)


def in_place(values: Tensor, order: Tensor | None) -> Tensor:
    """(R, C), each column where `RoundedMatrix.order` says that it is from."""
    return values if order is None else values[:, order.argsort()]


Rounder = Callable[[str, Tensor, Grid, Moments | None], RoundedMatrix]
"""How one matrix is rounded: its name, itself, its grid, and the moments of its inputs."""


def round_matrix(
    weight: Tensor,
    grid: Grid,
    moments: Moments | None,
    *,
    feedback: bool = True,
    workers: Workers = ALONE,
) -> RoundedMatrix:
    """Put a matrix on a grid.

    Args:
        weight: (R, C).
        grid: which.
        moments: of its inputs; None (nothing seen): every column counts alike, and there is no feedback.
        feedback: make up for each error in the columns that follow, where the moments say how, and for what
            inputs have lost on their way here; else round to the nearest.
        workers: share out the work.

    Raises:
        DataError: see `Grid.fit` and `feedback_codes`; a weight is not finite.
    """
    weight = weight.float()
    if not torch.stack(weight.aminmax()).isfinite().all():  # one pass, where isfinite of all is three
        raise DataError("a weight is not a finite number", hint="llmkit doctor MODEL names the tensors")
    columns = weight.shape[1]  # what each part does for columns alone costs no more than its rows then
    step = max(_ROWS, -(-max(_AT_ONCE // columns, columns) // _ROWS) * _ROWS)
    parts = [_rounded(part, grid, moments, feedback, workers) for part in weight.split(step)]
    noise, output_noise = (
        None if one is None else float(one[0] / one[1].clamp_min(_LEAST))
        for one in (_sum([part.squares for part in parts]), _sum([part.energies for part in parts]))
    )
    assert noise is not None
    fitted, codes = _joined([part.fitted for part in parts]), torch.cat([part.codes for part in parts])
    return RoundedMatrix(grid, fitted, codes, noise, output_noise)


@dataclass(frozen=True)
class _Rows:
    """Some rows, rounded."""

    fitted: Fitted
    codes: Tensor
    squares: Tensor
    """(2,) float64: of what was added, and of the weights."""
    energies: Tensor | None
    """The same of outputs over the text seen."""


def _rounded(weight: Tensor, grid: Grid, moments: Moments | None, feedback: bool, workers: Workers) -> _Rows:
    seen = moments is not None and moments.count > 0 and bool(moments.absolute.any())
    importance = moments.squares if moments is not None and seen else None
    if moments is not None and seen and feedback and moments.second.dim() == 2:
        second = moments.second
        if moments.missing is not None:
            weight = caught_up(weight, second, moments.missing, workers)
        fitted = grid.fit(weight, importance)
        codes = feedback_codes(weight, fitted.lattice, second, workers=workers)
        fitted, codes = descended(grid, weight, fitted, codes, second, workers=workers)
    else:
        fitted, codes = nearest(grid, weight, importance)
    values = fitted.lattice.values(codes)
    energies = None
    if moments is not None and seen:
        energies = lost(weight, values, moments.second, workers)
    return _Rows(fitted, codes, _squares(weight, values, workers), energies)


def _sum(parts: list[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.stack(known).sum(0) if known else None


def _joined(parts: list[Fitted]) -> Fitted:
    """Rows below each other."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0].lattice
    base = None
    if first.base is not None:
        base = torch.cat([part.lattice.base for part in parts if part.lattice.base is not None])
    lattice = replace(first, step=torch.cat([part.lattice.step for part in parts]), base=base)
    names = parts[0].stored
    return Fitted(lattice, {name: torch.cat([part.stored[name] for part in parts]) for name in names})


def nearest(grid: Grid, weight: Tensor, importance: Tensor | None = None) -> tuple[Fitted, Tensor]:
    """A grid fitted, and the codes of the nearest values, (R, C) uint8. Args and raises: see `Grid.fit`."""
    found = grid.fit_and_round(weight, importance) if isinstance(grid, GgmlGrid) else None
    if found is not None:
        return found
    fitted = grid.fit(weight, importance)
    return fitted, fitted.lattice.round(weight)


def _squares(weight: Tensor, values: Tensor, workers: Workers) -> Tensor:
    """Squares of what was added, and of the weights: of rows in float32, of all in float64.

    Some rows at a time: their differences stay in the cache.
    """

    def squares(rows: slice) -> Tensor:
        change = values[rows] - weight[rows]
        return torch.stack([torch.linalg.vector_norm(one, dim=1) for one in (change, weight[rows])]).square()

    parts = pieces(len(weight), max(1, _CACHED // weight.shape[1]))
    return torch.cat(workers.map(squares, parts), 1).sum(1, dtype=torch.float64)
