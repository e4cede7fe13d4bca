"""The paged twin of a model: its own weights, and the bits of its embedding."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from llmkit.engine.cuda.attention import GatheredAttention
from llmkit.engine.cuda.batch import decoding_batch
from llmkit.engine.cuda.model import PagedModel, PagedSelfAttention
from llmkit.engine.store import KVStore
from llmkit.model.attention import Attention
from llmkit.model.transformer import Transformer

Make = Callable[..., Any]


def _scores(model: Transformer, paged: PagedModel, ids: list[int]) -> torch.Tensor:
    """Of a text read one token at a time, whose only blocks are 0 and 1."""
    tables = torch.tensor([[0, 1]], dtype=torch.int32)
    rows = []
    with torch.inference_mode():
        for at, token in enumerate(ids):
            batch = decoding_batch(torch.tensor([[token], [at], [0]]), tables, 2, 4)
            rows.append(paged.scores(paged.hidden(batch))[0])
    return torch.stack(rows)


def test_weights_are_shared_and_not_copied(make_model: Make) -> None:
    model = make_model(num_key_value_heads=2)
    paged = PagedModel(model, KVStore(model.config, 2, 4), GatheredAttention())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.7)
        expected = model(torch.tensor([[1, 2, 3, 4, 5]]))[0]
    torch.testing.assert_close(_scores(model, paged, [1, 2, 3, 4, 5]), expected, rtol=1e-4, atol=1e-4)


def test_queries_of_later_positions_grow(make_model: Make) -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2, "beta_fast": 32.0}
    growth = {"rope_scaling": {**yarn, "beta_slow": 1.0, "truncate": True}, "query_growth_positions": 2}
    model = make_model(model_type="ministral3", query_growth=2.0, **growth)
    paged = PagedModel(model, KVStore(model.config, 2, 4), GatheredAttention())
    with torch.no_grad():
        expected = model(torch.tensor([[1, 2, 3, 4, 5]]))[0]
    torch.testing.assert_close(_scores(model, paged, [1, 2, 3, 4, 5]), expected, rtol=1e-4, atol=1e-4)


def test_an_attention_has_all_that_the_one_it_stands_for_has(make_model: Make) -> None:
    model = make_model(model_type="qwen3", qk_norm="head")
    original = model.model.layers[0].self_attn
    twin = PagedSelfAttention(original, torch.empty(0), torch.empty(0))
    assert isinstance(twin, Attention) and twin.q_proj is original.q_proj and twin.q_norm is original.q_norm
    assert [*twin.state_dict()] == [*original.state_dict()] and twin.training is original.training


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_of_a_model_in_16_bits_are_float32_and_those_of_its_modules(
    make_model: Make, dtype: torch.dtype
) -> None:
    fields: dict[str, Any] = {
        **{"model_type": "gemma", "norm_plus_one": True, "tie_word_embeddings": True},
        **{"embedding_scale": 24**0.5, "hidden_size": 24, "hidden_act": "gelu_pytorch_tanh"},
    }
    model = make_model(**fields).to(dtype)
    paged = PagedModel(model, KVStore(model.config, 2, 4, dtype), GatheredAttention())
    found = _scores(model, paged, [7, 2, 9, 4])
    with torch.inference_mode():
        expected = model(torch.tensor([[7, 2, 9, 4]]))[0].float()
    assert found.dtype == torch.float32
    spread = float(expected.std())
    assert float((found - expected).abs().max()) < 0.05 * spread
