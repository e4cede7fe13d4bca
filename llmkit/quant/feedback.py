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


def feedback_codes(
    weight: Tensor,
    lattice: Lattice,
    second_moments: Tensor,
    *,
    damping: float = 0.01,
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
    native = natively(weight, lattice.step, factor)
    parts = pieces(len(weight), _ROWS)
    for begin in range(0, weight.shape[1], _BLOCK):
        end = min(begin + _BLOCK, weight.shape[1])
        now, columns, within = left[:, begin:end], order[begin:end], factor[begin:end, begin:end]
        if native:
            places = columns.int().numpy()
            found = feedback_block(now.numpy(), within.numpy(), places, lattice.arrays, codes.numpy())
            errors = torch.from_numpy(found)
        else:
            errors = _block(now.contiguous(), within, columns, lattice, codes)
        rest = factor[begin:end, end:]
        workers.map(partial(_carry, left[:, end:], errors, rest), parts)
    return codes


def _carry(left: Tensor, errors: Tensor, factor: Tensor, rows: slice) -> None:
    """Make good the errors of some rows in their columns still to come."""
    left[rows].addmm_(errors[rows], factor, alpha=-1)


def _block(now: Tensor, factor: Tensor, columns: Tensor, lattice: Lattice, codes: Tensor) -> Tensor:
    """The slow twin of `llmkit.kernels.quantise.feedback_block`; `now` is used up."""
    group = columns // lattice.group
    step = lattice.step[:, group]
    base = None if lattice.base is None else lattice.base[:, group]
    errors = torch.empty_like(now)
    for i in range(len(columns)):
        one = Lattice(step[:, i, None], lattice.table, None if base is None else base[:, i, None], 1)
        chosen = one.round(now[:, i, None])
        codes[:, columns[i]] = chosen[:, 0]
        errors[:, i] = (now[:, i] - one.values(chosen)[:, 0]) / factor[i, i]
        now[:, i + 1 :].addr_(errors[:, i], factor[i, i + 1 :], alpha=-1)
    return errors


def lost(weight: Tensor, rounded: Tensor, second_moments: Tensor, workers: Workers = ALONE) -> float:
    """What a rounded matrix loses over the inputs seen, as a share of its output: tr(D H Dᵀ) / tr(W H Wᵀ)."""
    whole, change = (output_energy(one, second_moments, workers) for one in (weight, rounded - weight))
    return float(change / whole.clamp_min(1e-30))


def output_energy(weight: Tensor, second_moments: Tensor, workers: Workers = ALONE) -> Tensor:
    """tr(W H Wᵀ), in float64; of H its diagonal, (C,), may be all that is known."""
    if second_moments.dim() == 1:
        return (weight.square() @ second_moments).sum(dtype=torch.float64)
    return row_products(workers, weight, second_moments).sum(dtype=torch.float64)


def _inverse_factor(moments: Tensor, damping: float) -> Tensor:
    """The upper Cholesky factor of the inverse of damped second moments."""
    damped = moments.clone()
    diagonal = damped.diagonal()
    mean = diagonal.mean()
    if not mean.isfinite():
        raise DataError("the inputs of a matrix are not finite", hint="see llmkit doctor MODEL")
    if mean == 0:
        return torch.eye(len(damped))
    for _ in range(8):
        trial = damped.clone()
        trial.diagonal().add_(damping * mean)
        lower, failed = torch.linalg.cholesky_ex(trial)
        if not failed:
            upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
            if not failed:
                return upper.contiguous()  # LAPACK's columns are apart
        damping *= 10  # text so short that float32 does not see the rest
    raise DataError("the inputs of a matrix are not those of any text", hint="more calibration text")
