"""The compressed cache keeps what it is given, is as small as published, and refuses what does not fit."""

import pytest
import torch

from llmkit.errors import UsageError
from llmkit.model.latent_cache import LatentCache


def _rows(length: int, value: float) -> torch.Tensor:
    return torch.full((2, length, 5), value)


def test_what_is_appended_comes_back_in_order() -> None:
    cache = LatentCache(torch.empty(2, 6, 5))
    assert torch.equal(cache.append(_rows(3, 1.0)), _rows(3, 1.0))
    assert cache.length == 0  # until the pass is over, as in the other layers
    cache.length += 3
    rows = cache.append(_rows(2, 2.0))
    assert rows.shape == (2, 5, 5)
    assert rows[1, :, 3].tolist() == [1, 1, 1, 2, 2]
    cache.length = 1  # a rewind
    assert cache.append(_rows(1, 3.0))[0, :, 0].tolist() == [1, 3]


def test_its_bytes_are_one_row_a_token_and_nothing_for_each_head() -> None:
    # DeepSeek-V3: 512 + 64 numbers of bfloat16; keys and values of 128 heads would be 71 times that
    cache = LatentCache(torch.empty(3, 10, 512 + 64, dtype=torch.bfloat16))
    assert cache.nbytes == 3 * 10 * 1152
    assert 61 * cache.nbytes // 30 == 70_272  # a token in all layers: table 1 of DeepSeek's ISCA 2025 paper
    assert cache.append(torch.ones(3, 1, 576)).dtype == torch.bfloat16


def test_a_full_cache_refuses_and_keeps_what_it_has() -> None:
    cache = LatentCache(torch.empty(2, 6, 5))
    cache.append(_rows(6, 1.0))
    cache.length = 6
    with pytest.raises(UsageError, match="holds 6 positions and 7 are needed"):
        cache.append(_rows(1, 9.0))
    assert (cache.length, cache.rows.max().item()) == (6, 1.0)
