"""One position laid out flat beside the modules it was taken from, for every family and every switch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from llmkit.engine.step import DecodeStep
from llmkit.model.cache import KVCache
from llmkit.model.families import FAMILIES
from llmkit.model.transformer import Transformer

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
    "qwen3": {"model_type": "qwen3", "qk_norm": True, "num_key_value_heads": 2},
    "gpt2": {**GPT2, "hidden_act": "gelu_new"},
    "gpt2, sinusoids, tied": {**GPT2, "position": "sinusoidal", "tie_word_embeddings": True},
}
each_model = pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)


def test_no_family_and_no_switch_is_left_out(make_model: Make) -> None:
    seen = [{"model_type": "llama"} | settings for settings in MODELS.values()]
    assert {one["model_type"] for one in seen} == set(FAMILIES)
    for name in ("position", "norm", "qk_norm", "attention_bias", "output_bias", "mlp_bias", "gated_mlp"):
        possible = {value for family in FAMILIES.values() for value in family.switches[name]}
        tried = {getattr(make_model(**settings).config, name) for settings in MODELS.values()}
        assert possible == tried


@each_model
@torch.inference_mode()
def test_every_step_scores_what_one_pass_over_the_whole_text_scores(
    settings: dict[str, Any], make_model: Make
) -> None:
    model = make_model(**settings)
    ids = torch.randint(0, 40, (1, 40), generator=torch.Generator().manual_seed(1))
    expected = model(ids)[0]
    assert expected.std() > 0.1
    cache = KVCache(model.config, 1, 40)
    model.hidden(ids[:, :3], cache=cache)
    step = DecodeStep(model, 40)
    for place in range(3, 40):
        scores = step(int(ids[0, place]), cache)
        torch.testing.assert_close(scores, expected[place], rtol=2e-4, atol=2e-4)
    assert cache.length == 40


@each_model
@torch.inference_mode()
def test_a_step_leaves_in_the_cache_what_the_modules_leave(
    settings: dict[str, Any], make_model: Make
) -> None:
    model = make_model(**settings)
    ids = torch.tensor([[5, 9, 2, 31]])
    flat, whole = KVCache(model.config, 1, 4), KVCache(model.config, 1, 4)
    model.hidden(ids, cache=whole)
    step = DecodeStep(model, 4)
    for token in ids[0].tolist():
        step(token, flat)
    for ours, theirs in zip(flat.layers, whole.layers, strict=True):
        torch.testing.assert_close(ours.keys, theirs.keys, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.values, theirs.values, rtol=1e-4, atol=1e-4)


@each_model
@torch.inference_mode()
def test_in_bfloat16_a_step_is_as_near_to_float32_as_the_modules_are(
    settings: dict[str, Any], make_model: Make
) -> None:
    model = make_model(**settings).to(torch.bfloat16)
    ids = torch.randint(0, 40, (1, 30), generator=torch.Generator().manual_seed(2))
    caches = [KVCache(model.config, 1, 30, torch.bfloat16) for _ in range(2)]
    step = DecodeStep(model, 30)
    flat = torch.stack([step(token, caches[0]) for token in ids[0].tolist()])
    modules = torch.cat([model(ids[:, place : place + 1], cache=caches[1])[0] for place in range(30)])
    exact = model.float()(ids)[0]
    assert flat.dtype == torch.bfloat16
    assert (flat - exact).square().mean().sqrt() < 1.2 * (modules - exact).square().mean().sqrt()


def test_steps_read_the_weights_as_they_are_now(make_model: Make) -> None:
    model = make_model()
    step = DecodeStep(model, 4)
    with torch.inference_mode():
        before = step(1, KVCache(model.config, 1, 4))
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
        model.model.layers[0].mlp.down_proj.weight.zero_()
    with torch.inference_mode():
        after = step(1, KVCache(model.config, 1, 4))
        torch.testing.assert_close(after, model(torch.tensor([[1]]))[0, 0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(before, after)
