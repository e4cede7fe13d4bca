"""Memory in blocks beside the cache in one piece: the same keys and values, wherever a text's blocks are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from llmkit.engine.store import KVStore, PagedCache, PagedSpan
from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig, LatentConfig
from llmkit.model.transformer import Transformer
from tests.model.kv_cache import KVCache

Make = Callable[..., Transformer]
LATENT = {
    "latent": LatentConfig(
        kv_lora_rank=6, q_lora_rank=5, qk_nope_head_dim=5, qk_rope_head_dim=4, v_head_dim=3
    ),
    **{"model_type": "deepseek_v3", "rope_interleaved": True, "rotary_dim": 4, "head_dim": 9},
    "attention_scale": 1 / 3,
    "experts": ExpertsConfig(
        num_experts=4, num_experts_per_tok=2, intermediate_size=8, layers=(1, 2), scoring="sigmoid",
        norm_topk_prob=True, num_groups=2, topk_groups=1, group_score="best_two", selection_bias=True,
        shared_intermediate_size=8,
    ),
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "full": {"num_key_value_heads": 2},
    "sliding": {"model_type": "qwen2", "attention_bias": True, "sliding_layers": (2,), "sliding_window": 5},
    "latent": LATENT,
}


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request: pytest.FixtureRequest, make_model: Make) -> Transformer:
    return make_model(**request.param)


def _span(start: int, count: int, table: tuple[int, ...], first: int = 0, reach: int = 0) -> PagedSpan:
    return PagedSpan(start, count, reach or start + count, first, (np.array(table, np.int32),))


@pytest.mark.parametrize("table", [(0, 1, 2, 3), (4, 5, 6, 7), (6, 1, 0, 5), (3, 2, 1, 0)])
@torch.inference_mode()
def test_a_text_in_blocks_has_the_scores_of_one_pass_however_it_is_fed(
    model: Transformer, table: tuple[int, ...]
) -> None:
    ids = torch.randint(0, 40, (1, 14), generator=torch.Generator().manual_seed(1))
    store = KVStore(model.config, 8, 4)
    for layer in store.layers:
        for tensor in layer:
            tensor.fill_(torch.nan)  # what was never written is never read
    parts, begin = [], 0
    for count in (1, 4, 2, 6, 1):
        cache = PagedCache(store, [_span(begin, count, table)])
        parts.append(model(ids[:, begin : begin + count], cache=cache)[0])
        begin += count
    torch.testing.assert_close(torch.cat(parts), model(ids)[0], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_texts_in_one_pass_do_not_see_each_other(model: Transformer) -> None:
    one, other = torch.tensor([[1, 2, 3, 4, 5, 6, 7]]), torch.tensor([[9, 8, 7, 6, 5]])
    store = KVStore(model.config, 8, 4)
    model(one[:, :4], cache=PagedCache(store, [_span(0, 4, (5,))]))
    spans = [_span(4, 3, (5, 2)), _span(0, 5, (3, 7), first=3)]
    both = model(torch.cat((one[:, 4:], other), 1), cache=PagedCache(store, spans))[0]
    torch.testing.assert_close(both[:3], model(one)[0, 4:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(both[3:], model(other)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_block_takes_the_bytes_of_its_positions(model: Transformer, dtype: torch.dtype) -> None:
    config: ModelConfig = model.config
    store = KVStore(config, 6, 8, dtype)
    assert store.nbytes == KVCache(config, 1, 48, dtype).nbytes
    numbers = 6 + 4 if config.latent is not None else 2 * config.num_key_value_heads * config.head_dim
    assert store.nbytes == 6 * 3 * 8 * numbers * dtype.itemsize


def test_int8_takes_a_byte_a_number_and_four_a_head_and_keeps_no_latents(model: Transformer) -> None:
    config: ModelConfig = model.config
    if config.latent is not None:
        with pytest.raises(ConfigError, match="keeps latents"):
            KVStore(config, 6, 8, torch.int8)
        return
    store = KVStore(config, 6, 8, torch.int8)
    assert store.nbytes == 6 * 3 * 8 * 2 * config.num_key_value_heads * (config.head_dim + 4)
    assert [len(one) for one in store.by_block] == [6] * 3 * 4


@torch.inference_mode()
def test_int8_is_the_same_however_a_text_is_fed_and_near_float32(make_model: Make) -> None:
    model = make_model(num_key_value_heads=2)
    ids = torch.randint(0, 40, (1, 14), generator=torch.Generator().manual_seed(1))
    scores = []
    for counts in ((14,), (1, 4, 2, 6, 1)):
        store, parts, begin = KVStore(model.config, 8, 4, torch.int8), [], 0
        for count in counts:
            cache = PagedCache(store, [_span(begin, count, (6, 1, 0, 5))])
            parts.append(model(ids[:, begin : begin + count], cache=cache)[0])
            begin += count
        scores.append(torch.cat(parts))
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-4, atol=1e-4)
    difference = (scores[0] - model(ids)[0]).abs()
    assert 0 < difference.max() < 0.2


def test_rows_are_a_slice_where_blocks_lie_side_by_side_and_else_a_list(make_model: Make) -> None:
    store = KVStore(make_model().config, 9, 4)
    assert store.rows(_span(0, 7, (2, 3))) == slice(8, 15)
    assert store.rows(_span(0, 4, (2, 7))) == slice(8, 12)  # the second block holds nothing yet
    rows = store.rows(_span(3, 3, (2, 7)))
    assert isinstance(rows, torch.Tensor) and rows.tolist() == [8, 9, 10, 11, 28, 29]
