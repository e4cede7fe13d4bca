"""Codes chosen one column after the other, each error made good in the columns still to come (2210.17323).

What a matrix loses over the calibration text is `tr(D H Dᵀ)`, D what was added to the weights, H the sum of
`x xᵀ` over its inputs. Rounding to the nearest value looks at each weight alone; feedback of errors lets the
weights not yet rounded make up for those that are. Any lattice will do, since its values are fixed before.

Shapes: R rows, C columns.
"""

from functools import partial

import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.kernels.quantise import feedback_block
from llmkit.quant.lattice import Lattice
from llmkit.quant.search import natively
from llmkit.quant.workers import ALONE, Workers, pieces, row_products

_BLOCK = 128
"""Columns whose errors are carried to the rest at once."""
_ROWS = 512
"""That one thread carries them in."""
DAMPING = 0.01
"""Of the mean diagonal of second moments, added to their diagonal."""
_CAUGHT_UP = 0.5
"""Of what inputs have lost, see `caught_up`."""


def feedback_codes(
    weight: Tensor,
    lattice: Lattice,
    second_moments: Tensor,
    *,
    damping: float = DAMPING,
    workers: Workers = ALONE,
) -> Tensor:
    """Codes that lose little over the inputs seen.

    Args:
        weight: (R, C) float32.
        lattice: the values allowed.
        second_moments: (C, C) float32, the sum (or mean) of `x xᵀ`.
        damping: of its mean diagonal, added to the diagonal: the less text, the more.
        workers: share out the rows.

    Returns:
        (R, C) uint8.

    Raises:
        DataError: the second moments are not finite.
    """
    order = second_moments.diagonal().argsort(descending=True, stable=True)
    factor = _inverse_factor(second_moments[order][:, order], damping)
    left = weight.float()[:, order]
    codes = torch.empty(weight.shape, dtype=torch.uint8, device=weight.device)
    parts = pieces(len(weight), _ROWS)
    for begin in range(0, weight.shape[1], _BLOCK):
        end = min(begin + _BLOCK, weight.shape[1])
        within = factor[begin:end, begin:end]
        errors = rounded_block(left[:, begin:end], within, order[begin:end], lattice, codes)
        rest = factor[begin:end, end:]
        workers.map(partial(_carry, left[:, end:], errors, rest), parts)
    return codes


def _carry(left: Tensor, errors: Tensor, factor: Tensor, rows: slice) -> None:
    """Make good the errors of some rows in their columns still to come."""
    left[rows].addmm_(errors[rows], factor, alpha=-1)


def rounded_block(
    wanted: Tensor,
    factor: Tensor,
    columns: Tensor,
    lattice: Lattice,
    codes: Tensor,
    *,
    original: Tensor | None = None,
) -> Tensor:
    """Some columns rounded one after the other: see `llmkit.kernels.quantise.feedback_block`."""
    if not natively(wanted, lattice.step, factor):
        return _block(wanted.clone(), factor, columns, lattice, codes, original)
    counted = None if original is None else original.numpy()
    places, arrays = columns.int().numpy(), lattice.arrays
    return torch.from_numpy(
        feedback_block(wanted.numpy(), factor.numpy(), places, arrays, codes.numpy(), counted)
    )


def _block(
    now: Tensor, factor: Tensor, columns: Tensor, lattice: Lattice, codes: Tensor, original: Tensor | None
) -> Tensor:
    """The slow twin; `now` is used up."""
    group = columns // lattice.group
    step = lattice.step[:, group]
    base = None if lattice.base is None else lattice.base[:, group]
    errors = torch.empty_like(now)
    for i in range(len(columns)):
        one = Lattice(step[:, i, None], lattice.table, None if base is None else base[:, i, None], 1)
        chosen = one.round(now[:, i, None])
        codes[:, columns[i]] = chosen[:, 0]
        counted = now[:, i] if original is None else original[:, i]
        errors[:, i] = (counted - one.values(chosen)[:, 0]) / factor[i, i]
        now[:, i + 1 :].addr_(errors[:, i], factor[i, i + 1 :], alpha=-1)
    return errors


def lost(weight: Tensor, rounded: Tensor, second_moments: Tensor, workers: Workers = ALONE) -> Tensor:
    """Over the inputs seen, what rounding loses, tr(D H Dᵀ), and the output, tr(W H Wᵀ): (2,) float64."""
    change = rounded - weight
    return torch.stack([output_energy(one, second_moments, workers) for one in (change, weight)])


def output_energy(weight: Tensor, second_moments: Tensor, workers: Workers = ALONE) -> Tensor:
    """tr(W H Wᵀ), in float64; of H its diagonal, (C,), may be all that is known."""
    if second_moments.dim() == 1:
        return (weight.square() @ second_moments).sum(dtype=torch.float64)
    return row_products(workers, weight, second_moments).sum(dtype=torch.float64)


def damped(moments: Tensor, damping: float) -> Tensor:
    """Second moments with a share of their mean diagonal added to the diagonal."""
    trial = moments.clone()
    trial.diagonal().add_(damping * moments.diagonal().mean())
    return trial


def caught_up(weight: Tensor, second_moments: Tensor, missing: Tensor, workers: Workers = ALONE) -> Tensor:
    """Weights that make good, by what they read, a share of what their inputs have lost before.

    In a rounded model a matrix reads x where the original reads y. `W + W M H⁻¹`, M the sum of `(y - x) xᵀ`,
    has the outputs nearest to `W y`; half the way there is best on text not seen (2504.02692 has a quarter).

    Args:
        weight: (R, C) float32.
        second_moments: as for `feedback_codes`.
        missing: (C, C), M.
        workers: share out the rows.
    """
    if not second_moments.diagonal().any():
        return weight
    lower = _lower_factor(second_moments, DAMPING)

    def some(rows: slice) -> Tensor:
        return weight[rows] + _CAUGHT_UP * torch.cholesky_solve((weight[rows] @ missing).T, lower).T

    return torch.cat(workers.map(some, pieces(len(weight), _ROWS)))


def _inverse_factor(moments: Tensor, damping: float) -> Tensor:
    """The upper Cholesky factor of the inverse of damped second moments."""
    if moments.diagonal().mean() == 0:
        return torch.eye(len(moments))
    lower = _lower_factor(moments, damping)
    upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    if failed:
        return _inverse_factor(moments, 10 * damping)
    return upper.contiguous()  # LAPACK's columns are apart


def _lower_factor(moments: Tensor, damping: float) -> Tensor:
    """The lower Cholesky factor of damped second moments."""
    if not moments.diagonal().mean().isfinite():
        raise DataError("the inputs of a matrix are not finite", hint="see llmkit doctor MODEL")
    for _ in range(8):
        lower, failed = torch.linalg.cholesky_ex(damped(moments, damping))
        if not failed:
            return lower
        damping *= 10  # text so short that float32 does not see the rest
    raise DataError("the inputs of a matrix are not those of any text", hint="more calibration text")
