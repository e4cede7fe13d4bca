"""Attention against a twin that takes one query, one head and one key at a time."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from llmkit.model.attention import Attention
from llmkit.model.config import ModelConfig
from llmkit.model.held import Held
from llmkit.model.layout import Layout, layout_mask
from llmkit.model.norm import RMSNorm

Make = Callable[..., ModelConfig]


def _attention(config: ModelConfig) -> Attention:
    torch.manual_seed(0)
    module = Attention(config, 0)
    for name, parameter in module.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.3)
    return module


def _slow(module: Attention, x: Tensor, heads: int, groups: int, allowed: Tensor) -> Tensor:
    """x: (T, D); allowed: (T, T) bool. Query head h reads key/value head h // (heads / groups)."""
    E = module.head_dim
    q = module.q_proj(x).view(len(x), heads, E)
    k = module.k_proj(x).view(len(x), groups, E)
    v = module.v_proj(x).view(len(x), groups, E)
    rows = []
    for place in range(len(x)):
        mixed = []
        for head in range(heads):
            group = head // (heads // groups)
            seen = [other for other in range(len(x)) if allowed[place, other]]
            scores = [(q[place, head] * k[other, group]).sum() / math.sqrt(E) for other in seen]
            shares = torch.stack(scores).softmax(0)
            mixed.append(sum(share * v[other, group] for share, other in zip(shares, seen, strict=True)))
        rows.append(torch.cat(mixed))
    return module.o_proj(torch.stack(rows))


@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("biased", [False, True])
@torch.no_grad()
def test_multi_grouped_and_multi_query_heads_are_the_textbooks(
    groups: int, biased: bool, make_config: Make
) -> None:
    config = make_config(num_key_value_heads=groups, attention_bias=biased, output_bias=biased, head_dim=6)
    module, x = _attention(config), torch.randn(2, 7, 32)
    causal = torch.tensor([[other <= place for other in range(7)] for place in range(7)])
    expected = torch.stack([_slow(module, row, 4, groups, causal) for row in x])
    torch.testing.assert_close(module(x, Layout()), expected, rtol=1e-4, atol=1e-5)
    documents = torch.tensor([[0, 0, 0, 1, 1, 2, 2], [5, 5, 5, 5, 5, 5, 3]])
    for row, numbers in enumerate(documents):
        apart = causal & (numbers[:, None] == numbers[None])
        expected = _slow(module, x[row], 4, groups, apart)
        found = module(x, Layout(mask=layout_mask(0, 7, x.device, segments=documents)))[row]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_heads_are_normalised_before_they_are_turned(make_config: Make) -> None:
    config = make_config("qwen3", norm_eps=0.1)
    module, x = _attention(config), torch.randn(1, 1, 32)
    assert module.q_norm is not None
    assert module.k_norm is not None
    cache = Held(torch.zeros(1, 4, 1, 8), torch.zeros(1, 4, 1, 8))
    angle = torch.full((1, 4), 0.5)
    module(x, Layout(angle.cos(), angle.sin()), cache)
    k = module.k_proj(x).view(4, 8)
    k = k / (k.square().mean(-1, keepdim=True) + 0.1).sqrt() * module.k_norm.weight
    first, second = k[:, :4], k[:, 4:]
    cos, sin = math.cos(0.5), math.sin(0.5)
    turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=1)
    torch.testing.assert_close(cache.tensors[0][0, :, 0], turned)
    torch.testing.assert_close(cache.tensors[1][0, :, 0], module.v_proj(x).view(4, 8))  # values are not


@torch.no_grad()
def test_a_cache_of_another_dtype_is_read_in_the_models(make_config: Make) -> None:
    module, x = _attention(make_config(num_key_value_heads=2)), torch.randn(1, 3, 32)
    held = torch.zeros(1, 2, 3, 8, dtype=torch.bfloat16)
    found = module(x, Layout(), Held(held, held.clone()))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, module(x, Layout()), rtol=0, atol=0.05)


@pytest.mark.parametrize("capped", [False, True])
@torch.no_grad()
def test_scores_are_scaled_and_capped_as_the_config_says(capped: bool, make_config: Make) -> None:
    caps = {"attn_logit_softcapping": 2.0 if capped else None, "attention_scale": 0.8}
    config = make_config("gemma2", **caps, num_key_value_heads=2)
    module, x = _attention(config), torch.randn(1, 5, 32)
    q = module.q_proj(x).view(5, 4, 8)
    k = module.k_proj(x).view(5, 2, 8).repeat_interleave(2, dim=1)
    v = module.v_proj(x).view(5, 2, 8).repeat_interleave(2, dim=1)
    scores = torch.einsum("the,she->hts", q, k) * 0.8
    scores = 2 * torch.tanh(scores / 2) if capped else scores
    scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), float("-inf"))
    expected = module.o_proj(torch.einsum("hts,she->the", scores.softmax(-1), v).reshape(1, 5, 32))
    torch.testing.assert_close(module(x, Layout()), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_norm_over_all_heads_at_once_comes_before_they_are_taken_apart(make_config: Make) -> None:
    config = make_config("olmo2", norm_eps=0.1, num_key_value_heads=2)
    module, x = _attention(config), torch.randn(1, 1, 32)
    assert isinstance(module.q_norm, RMSNorm)
    assert isinstance(module.k_norm, RMSNorm)
    assert (module.q_norm.weight.shape, module.k_norm.weight.shape) == ((32,), (16,))
    cache = Held(torch.zeros(1, 2, 1, 8), torch.zeros(1, 2, 1, 8))
    module(x, Layout(), cache)
    k = module.k_proj(x)[0, 0]
    k = k / (k.square().mean() + 0.1).sqrt() * module.k_norm.weight
    torch.testing.assert_close(cache.tensors[0][0, :, 0].flatten(), k)


@torch.no_grad()
def test_pairs_side_by_side_are_turned_as_pairs_in_two_halves_are(make_config: Make) -> None:
    halves, pairs = _attention(make_config()), _attention(make_config("cohere"))
    order = torch.arange(8).view(2, 4).T.flatten()  # 0 4 1 5 2 6 3 7
    for name, one in pairs.named_parameters():
        other = dict(halves.named_parameters())[name].detach().clone()
        if name.startswith(("q_proj", "k_proj")):
            other = other.view(4, 8, 32)[:, order].flatten(0, 1)
        one.copy_(other)
    x, angle = torch.randn(1, 3, 32), torch.rand(3, 4)
    layout = Layout(angle.cos(), angle.sin())
    torch.testing.assert_close(pairs(x, layout), halves(x, layout))


@torch.no_grad()
def test_each_head_has_a_sink_and_other_families_none(make_config: Make) -> None:
    assert make_config("gpt_oss").attention_sinks
    module = Attention(make_config("gpt_oss"), 0)
    assert module.sinks is not None
    assert module.sinks.shape == (4,)
    assert Attention(make_config(), 0).sinks is None
    x = torch.randn(1, 4, 32)
    module.o_proj.bias.zero_()
    module.sinks.fill_(60.0)
    assert module(x, Layout()).abs().max() < 1e-12
