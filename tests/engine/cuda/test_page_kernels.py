"""The kernels themselves. What attention gives with them: test_kernel_attention.py."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from llmkit.engine.cuda.attention import AttentionRules, GatheredAttention, Rotation
from llmkit.engine.cuda.kernel_attention import KernelAttention
from tests.engine.cuda.cases import SPANS, make_batch

pytestmark = pytest.mark.usefixtures("interpreted")
Make = Callable[..., Any]


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("pairs", [None, 2, 4])
def test_heads_are_rotated_into_their_places(make_text: Make, pairs: int | None, interleaved: bool) -> None:
    batch = make_batch(make_text, SPANS["all sorts"])
    generator = torch.Generator().manual_seed(0)
    T = len(batch.ids)
    q, k, v = (torch.randn(T, heads, 8, generator=generator) for heads in (6, 2, 2))
    rotation = None
    if pairs is not None:
        angles = torch.randn(2, T, pairs, generator=generator)
        rotation = Rotation(angles[0].cos(), angles[1].sin(), interleaved)
    stores = [[torch.zeros(17 * 4, 2, 8) for _ in range(2)] for _ in range(2)]
    slow = GatheredAttention().over(batch).keep(q, k, v, rotation, *stores[0])
    fast = KernelAttention().over(batch).keep(q, k, v, rotation, *stores[1])
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(stores[1], stores[0])
    assert float(stores[0][0].abs().sum()) > 0


def test_equal_values_come_out_as_they_are_whatever_the_keys(make_text: Make) -> None:
    batch = make_batch(make_text, SPANS["all sorts"])
    T = len(batch.ids)
    attention = KernelAttention().over(batch)
    q = torch.randn(T, 6, 8)
    keys = torch.zeros(17 * 4, 2, 8)
    found = attention(q, keys, keys + 3, AttentionRules(0.4))
    assert found.shape == q.shape and torch.allclose(found, torch.full_like(q, 3.0))
