"""Steps and bases of groups that lose least, by weighted least squares over a few ways to round.

As ggml's make_qx_quants and make_qkx2_quants: for each of some trial steps the weights are rounded, and the
best step (and base) for the codes that come out is worked out, and what loses least is kept. In the native
library where there is one, else in torch, to the same figures but for the rounding of sums.

Where weights do not count alike, many of the best steps leave a group's largest weight out: so more trials
are worth their while there.

Shapes: M groups, g weights of a group, N codes. Weights are float32 (or another float), importance float32
(P, g): group m counts its weights by row m % P. Importance None: all count alike.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.kernels import encode as native_encode
from llmkit.kernels import quantise
from llmkit.kernels.library import available
from llmkit.quant import search_torch


def even_scale(weight: Tensor, importance: Tensor | None, low: int, high: int, trials: int) -> Tensor:
    """Steps for whole codes from `low` < 0 to `high` about zero.

    The largest weight may become either end of the codes: steps may be negative.

    Args:
        weight: (M, g). importance: (P, g), how much an error of each weight counts.
        low, high: the codes.
        trials: of the step: the largest weight is put a code within the first, then the last, and so on in
            turn, a quarter further out each time; nine end a code without.

    Returns:
        (M,), 0 for groups of zeros.
    """
    if not natively(weight, importance):
        return search_torch.even_scale(weight.float(), importance, low, high, trials)
    return torch.from_numpy(quantise.even_scale(*as_arrays(weight, importance), low, high, trials))


def table_scale(weight: Tensor, importance: Tensor | None, table: Tensor, trials: int) -> Tensor:
    """Steps for codes that stand for a table's values.

    Args:
        weight, importance: as for `even_scale`.
        table: (N,) ascending, on both sides of zero.
        trials: of the step, about that which gives the largest weight the table's first value, and as many
            about that which gives it the last.

    Returns:
        (M,), 0 for groups of zeros.
    """
    if not natively(weight, importance):
        return search_torch.table_scale(weight.float(), importance, table, trials)
    return torch.from_numpy(quantise.table_scale(*as_arrays(weight, importance), table.numpy(), trials))


def even_scale_and_base(
    weight: Tensor, importance: Tensor | None, high: int, trials: int, *, below_zero: bool
) -> tuple[Tensor, Tensor]:
    """Steps and bases for whole codes from 0 to `high`.

    Args:
        weight, importance: as for `even_scale`.
        high: the last code.
        trials: of the step: the first nine about that which spans all weights, with two bases in turn; later
            ones leave more and more out, at the top, at both ends, and at the bottom in turn.
        below_zero: whether bases are held at or below zero, as ggml's are.

    Returns:
        step (M,) at least 0, base (M,).
    """
    if not natively(weight, importance):
        return search_torch.even_scale_and_base(
            weight.float(), importance, high, trials, below_zero=below_zero
        )
    arrays = as_arrays(weight, importance)
    step, base = quantise.even_scale_and_base(*arrays, high, trials, below_zero=below_zero)
    return torch.from_numpy(step), torch.from_numpy(base)


def encode(
    weight: Tensor, importance: Tensor | None, table: Tensor, trials: int, *, with_base: bool
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Steps and bases in half precision, and the nearest codes, in one go: natively only.

    Args:
        weight, importance: as for the other searches.
        table: (N,) the value of each code in steps.
        trials: as for the other searches.
        with_base: whether groups have a base, of any sign.

    Returns:
        (M,) float32 of each, and (M, g) codes.
    """
    found = native_encode.encode(*as_arrays(weight, importance), table.numpy(), trials, with_base=with_base)
    step, base, codes = (None if one is None else torch.from_numpy(one) for one in found)
    assert step is not None and codes is not None
    return step, base, codes


def natively(*tensors: Tensor | None) -> bool:
    """Whether the native library is there, and reads these tensors."""
    return available() and all(tensor is None or tensor.device.type == "cpu" for tensor in tensors)


def as_arrays(weight: Tensor, importance: Tensor | None) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """As the library reads them."""
    weight = weight.detach().contiguous()
    if weight.dtype == torch.bfloat16:
        groups: NDArray[Any] = weight.view(torch.int16).numpy().view(np.uint16)
    else:
        groups = weight.numpy()
    if importance is None or (len(importance) == 1 and bool((importance == importance[0, 0]).all())):
        return groups, None
    return groups, importance.detach().float().contiguous().numpy()
