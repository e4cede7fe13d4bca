"""What caches of a layer have in common: positions kept in order, and no more than fit."""

import pytest
import torch

from llmkit.errors import UsageError
from llmkit.model.held import Held
from llmkit.model.layout import Layout


def test_all_tensors_grow_together_and_come_back_in_the_dtype_of_what_is_new() -> None:
    held = Held(torch.zeros(1, 2, 4, 3, dtype=torch.bfloat16), torch.zeros(1, 4, 5, dtype=torch.bfloat16))
    assert held.nbytes == 2 * (2 * 4 * 3 + 4 * 5)
    mask = torch.ones(2, 2, dtype=torch.bool)
    ((part, whole, seen),) = held.extend(
        (torch.ones(1, 2, 2, 3), torch.full((1, 2, 5), 2.0)), Layout(mask=mask)
    )
    assert part == slice(None) and seen is mask
    assert [(tuple(one.shape), one.dtype) for one in whole] == [
        ((1, 2, 2, 3), torch.float32),
        ((1, 2, 5), torch.float32),
    ]
    held.length = 2
    wide, narrow = held.store((torch.full((1, 2, 1, 3), 3.0), torch.full((1, 1, 5), 4.0)))
    assert wide[0, 1, :, 0].tolist() == [1, 1, 3] and narrow[0, :, 4].tolist() == [2, 2, 4]
    assert wide.dtype == torch.bfloat16


def test_what_does_not_fit_is_refused_and_nothing_is_written() -> None:
    held = Held(torch.zeros(1, 2, 3))
    held.length = 1
    with pytest.raises(UsageError, match="holds 2 positions and 3 are needed"):
        held.store((torch.ones(1, 2, 3),))
    assert held.store((torch.zeros(1, 1, 3),))[0].sum() == 0
