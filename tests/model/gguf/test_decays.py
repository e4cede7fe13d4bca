"""How fast states fade: minus an exponential, rounded once, and its logarithm."""

import math

import pytest
import torch

from llmkit.model.gguf.decays import decays, logarithms

A_LOG = [0.0, 0.5, -1.0, 2.0, 2.7725887, -20.0]


def test_each_is_the_float32_nearest_to_minus_the_exponential_of_both_kinds_of_array() -> None:
    ours = torch.tensor(A_LOG)
    nearest = torch.tensor([-math.exp(one) for one in ours.tolist()])
    assert torch.equal(decays(ours), nearest)
    assert decays(ours.numpy()).tolist() == nearest.tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_logarithm_of_16_bits_comes_back_as_it_was(dtype: torch.dtype) -> None:
    ours = torch.linspace(0.5, 4, 2001).to(dtype)
    theirs = decays(ours)
    assert theirs.dtype == torch.float32
    assert torch.equal(logarithms(theirs).to(dtype), ours)


def test_a_decay_that_is_none_is_no_number() -> None:
    theirs = torch.tensor([-1.0, 0.0, 1.0])
    for found in (logarithms(theirs), torch.from_numpy(logarithms(theirs.numpy()))):
        assert found[0] == 0 and found[1] == -torch.inf and found[2].isnan()
