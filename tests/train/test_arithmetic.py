"""The arithmetic of a forward pass."""

import torch
from torch.nn import functional as F

from llmkit.train.arithmetic import arithmetic

CPU = torch.device("cpu")


def test_products_are_in_the_dtype_that_was_asked_for() -> None:
    one = torch.ones(2, 2)
    for name, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        with arithmetic(CPU, name):
            assert F.linear(one, one).dtype == dtype
    assert F.linear(one, one).dtype == torch.float32
