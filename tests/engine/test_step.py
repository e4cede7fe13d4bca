"""One position laid out flat beside the modules it was taken from, and the models that cannot be."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from llmkit.engine.step import FlatStep, is_flat
from llmkit.model.held import Held
from llmkit.model.transformer import Transformer
from tests.model.kv_cache import KVCache

Make = Callable[..., Transformer]

GPT2 = {
    **{"model_type": "gpt2", "norm": "layer", "position": "learned", "gated_mlp": False},
    **{"attention_bias": True, "output_bias": True, "mlp_bias": True},
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "llama, one key head, tied": {"num_key_value_heads": 1, "tie_word_embeddings": True, "head_dim": 6},
    "llama, biases": {"attention_bias": True, "output_bias": True, "mlp_bias": True},
    "llama, long": {
        "rope_scaling": {
            **{"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
            "original_max_position_embeddings": 16,
        }
    },
    "mistral": {"model_type": "mistral", "num_key_value_heads": 2, "hidden_act": "gelu_pytorch_tanh"},
    "qwen2": {"model_type": "qwen2", "attention_bias": True, "num_key_value_heads": 2},
    "qwen3": {"model_type": "qwen3", "qk_norm": "head", "num_key_value_heads": 2},
    "gpt2": {**GPT2, "hidden_act": "gelu_new"},
    "gpt2, sinusoids, tied": {**GPT2, "position": "sinusoidal", "tie_word_embeddings": True},
}
each_model = pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)


OTHERS: dict[str, dict[str, Any]] = {
    **{name: {name: value} for name, value in (("no_rope_layers", (1,)), ("attention_sinks", True))},
    "query_growth": {"query_growth": 0.1},
    "hidden_act": {"hidden_act": "xielu"},
    **{name: {name: 0.5} for name in ("embedding_scale", "residual_scale", "logit_scale", "attention_scale")},
    **{name: {name: 9.0} for name in ("attn_logit_softcapping", "final_logit_softcapping")},
    **{name: {name: True} for name in ("norm_plus_one", "rope_interleaved", "head_bias", "attention_gate")},
    **{"residual": {"residual": "parallel"}, "norm_placement": {"norm_placement": "after"}},
    **{
        "qk_norm": {"qk_norm": "projection"},
        "rotary_dim": {"rotary_dim": 2},
        "sliding_layers": {"sliding_layers": (0,)},
    },
    "rope_scaling": {
        "rope_scaling": {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 8}
    },
}
"""Parts that are not laid out flat."""


def _memory(model: Transformer, positions: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    config = model.config
    shape = (positions, config.num_key_value_heads, config.head_dim)
    dtype = model.model.embed_tokens.weight.dtype
    return [
        (torch.full(shape, torch.nan, dtype=dtype), torch.full(shape, torch.nan, dtype=dtype))
        for _ in range(3)
    ]


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_with_another_part_is_not_flat(name: str, make_model: Make) -> None:
    config = make_model().config
    assert is_flat(config)
    assert not is_flat(SimpleNamespace(**{**vars(config), **OTHERS[name]}))  # type: ignore[arg-type]


@each_model
@torch.inference_mode()
def test_every_step_scores_what_one_pass_over_the_whole_text_scores(
    settings: dict[str, Any], make_model: Make
) -> None:
    model = make_model(**settings)
    assert is_flat(model.config)
    ids = torch.randint(0, 40, (1, 40), generator=torch.Generator().manual_seed(1))
    expected = model(ids)[0]
    assert expected.std() > 0.1
    step, memory = FlatStep(model), _memory(model, 60)
    for place in range(40):  # the text's positions begin at the memory's fifth
        scores = step(int(ids[0, place]), place, 5, memory)
        torch.testing.assert_close(scores, expected[place], rtol=2e-4, atol=2e-4)


@each_model
@torch.inference_mode()
def test_a_step_leaves_in_the_memory_what_the_modules_leave_in_their_cache(
    settings: dict[str, Any], make_model: Make
) -> None:
    model = make_model(**settings)
    ids = torch.tensor([[5, 9, 2, 31]])
    memory, whole = _memory(model, 9), KVCache(model.config, 1, 4)
    model.hidden(ids, cache=whole)
    step = FlatStep(model)
    for place, token in enumerate(ids[0].tolist()):
        step(token, place, 2, memory)
    for ours, layer in zip(memory, whole.layers, strict=True):
        assert isinstance(layer, Held)
        for rows, theirs in zip(ours, layer.tensors, strict=True):
            torch.testing.assert_close(rows[2:6].transpose(0, 1), theirs[0], rtol=1e-4, atol=1e-4)
            assert rows[:2].isnan().all() and rows[6:].isnan().all()


@each_model
@torch.inference_mode()
def test_in_bfloat16_a_step_is_as_near_to_float32_as_the_modules_are(
    settings: dict[str, Any], make_model: Make
) -> None:
    model = make_model(**settings).to(torch.bfloat16)
    ids = torch.randint(0, 40, (1, 30), generator=torch.Generator().manual_seed(2))
    cache, memory, step = KVCache(model.config, 1, 30, torch.bfloat16), _memory(model, 30), FlatStep(model)
    flat = torch.stack([step(token, place, 0, memory) for place, token in enumerate(ids[0].tolist())])
    modules = torch.cat([model(ids[:, place : place + 1], cache=cache)[0] for place in range(30)])
    exact = model.float()(ids)[0]
    assert flat.dtype == torch.bfloat16
    assert (flat - exact).square().mean().sqrt() < 1.2 * (modules - exact).square().mean().sqrt()


def test_steps_read_the_weights_as_they_are_now(make_model: Make) -> None:
    model = make_model()
    step = FlatStep(model)
    with torch.inference_mode():
        before = step(1, 0, 0, _memory(model, 4))
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
        model.model.layers[0].mlp.down_proj.weight.zero_()
    with torch.inference_mode():
        after = step(1, 0, 0, _memory(model, 4))
        torch.testing.assert_close(after, model(torch.tensor([[1]]))[0, 0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(before, after)
