"""A product with its addition beside the one matrix that it stands for."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from llmkit.model.adapters.addition import added


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_it_is_the_product_of_the_changed_matrix_and_the_bias_is_added_once(dora: bool, biased: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    x, weight, a, b, bias, factors = (
        torch.randn(shape, generator=draw) for shape in ((2, 3, 8), (6, 8), (2, 8), (2, 6), (6,), (6,))
    )
    addition: Any = SimpleNamespace(a=a, b=b, factors=factors if dora else None)
    changed = (factors[:, None] * weight if dora else weight) + b.T @ a
    own = bias if biased else None
    found = added(addition, x, torch.nn.functional.linear(x, weight, own), own)
    torch.testing.assert_close(found, torch.nn.functional.linear(x, changed, own), rtol=1e-5, atol=1e-5)
