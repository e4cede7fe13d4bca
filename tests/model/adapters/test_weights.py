"""The change of one matrix, worked out row by row."""

import pytest
import torch
from torch import Tensor

from llmkit.model.adapters.weights import AdapterWeights, LowRank


def _drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_a_merged_matrix_is_w_plus_scale_b_a() -> None:
    values, weight = LowRank(_drawn(2, 5), _drawn(3, 2), 0.5), _drawn(3, 5)
    for strength in (1.0, 0.25, -1.0):
        expected = [
            [
                float(weight[i, j])
                + strength * 0.5 * sum(float(values.B[i, k] * values.A[k, j]) for k in (0, 1))
                for j in range(5)
            ]
            for i in range(3)
        ]
        torch.testing.assert_close(values.merged(weight, strength), torch.tensor(expected))
    torch.testing.assert_close(weight + values.delta(), values.merged(weight))


def test_rows_of_dora_have_the_lengths_that_it_learnt() -> None:
    lengths = torch.tensor([1.0, 2.0, 3.0])
    values, weight = LowRank(_drawn(2, 5), _drawn(3, 2), 0.5, lengths), _drawn(3, 5)
    merged = values.merged(weight)
    torch.testing.assert_close(merged.norm(dim=1), lengths)
    direction = weight + 0.5 * values.B @ values.A
    torch.testing.assert_close(torch.cosine_similarity(merged, direction), torch.ones(3))
    torch.testing.assert_close(values.merged(weight, 0.5), (weight + merged) / 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_merged_matrix_is_rounded_once(dtype: torch.dtype) -> None:
    values, weight = LowRank(_drawn(2, 5), _drawn(3, 2), 0.5), _drawn(3, 5).to(dtype)
    assert torch.equal(values.merged(weight), values.merged(weight.float()).to(dtype))


def test_shared_factors_count_once_in_bytes() -> None:
    A = _drawn(2, 5)
    modules = {name: LowRank(A, _drawn(3, 2), 1.0) for name in ("q", "k")}
    weights = AdapterWeights(modules, {"lm_head.weight": _drawn(4, 5)})
    assert weights.nbytes == 4 * (2 * 5 + 3 * 2 * 2 + 4 * 5)
    assert modules["q"].nbytes == 4 * (2 * 5 + 3 * 2) and not weights.use_dora
