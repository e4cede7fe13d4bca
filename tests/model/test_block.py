"""A block is two branches, each normalised before and added after."""

from collections.abc import Callable

import pytest
import torch

from llmkit.model.block import Block
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.layout import Layout
from llmkit.model.moe import MixtureOfExperts
from llmkit.model.norm import RMSNorm
from tests.model.recurrent.conftest import hybrid

Make = Callable[..., ModelConfig]
EXPERTS = ExpertsConfig(num_experts=4, num_experts_per_tok=2, intermediate_size=6, layers=(1,))


def _block(config: ModelConfig, layer: int = 0) -> Block:
    torch.manual_seed(0)
    block = Block(config, layer)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    return block


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@torch.no_grad()
def test_each_branch_reads_the_normalised_stream_and_adds_to_the_bare_one(
    family: str, make_config: Make
) -> None:
    config = make_config(family, norm_eps=0.01)
    block, x = _block(config), 3 * torch.randn(2, 5, 32)

    def normalised(x: torch.Tensor, norm: torch.nn.Module) -> torch.Tensor:
        centred = x if family == "llama" else x - x.mean(-1, keepdim=True)
        unit = centred / (centred.square().mean(-1, keepdim=True) + 0.01).sqrt()
        return unit * norm.weight + getattr(norm, "bias", 0.0)

    middle = x + block.self_attn(normalised(x, block.input_layernorm), Layout())
    expected = middle + block.mlp(normalised(middle, block.post_attention_layernorm))
    torch.testing.assert_close(block(x, Layout()), expected, rtol=1e-4, atol=1e-5)
    assert isinstance(block.input_layernorm, RMSNorm) == (family == "llama")


@torch.no_grad()
def test_a_block_whose_branches_write_nothing_passes_the_stream_on(make_config: Make) -> None:
    block, x = _block(make_config()), torch.randn(1, 4, 32)
    block.self_attn.o_proj.weight.zero_()
    block.mlp.down_proj.weight.zero_()
    assert torch.equal(block(x, Layout()), x)


def test_the_parts_have_the_llama_familys_names(make_config: Make) -> None:
    assert {name for name, _ in _block(make_config()).named_parameters()} == {
        *(f"self_attn.{name}_proj.weight" for name in "qkvo"),
        *(f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")),
        *("input_layernorm.weight", "post_attention_layernorm.weight"),
    }


@torch.no_grad()
def test_norms_stand_after_the_branches_or_on_both_sides_of_them(make_config: Make) -> None:
    x = torch.randn(1, 5, 32)
    after = _block(make_config("olmo2"))
    middle = x + after.post_attention_layernorm(after.self_attn(x, Layout()))
    expected = middle + after.post_feedforward_layernorm(after.mlp(middle))
    torch.testing.assert_close(after(x, Layout()), expected)
    assert not hasattr(after, "input_layernorm")

    both = _block(make_config("gemma2"))
    attended = both.self_attn(both.input_layernorm(x), Layout())
    middle = x + both.post_attention_layernorm(attended)
    expected = middle + both.post_feedforward_layernorm(both.mlp(both.pre_feedforward_layernorm(middle)))
    torch.testing.assert_close(both(x, Layout()), expected)


@pytest.mark.parametrize("family", ["gpt_neox", "cohere"])
@torch.no_grad()
def test_parallel_branches_read_the_same_stream(family: str, make_config: Make) -> None:
    block, x = _block(make_config(family)), torch.randn(1, 5, 32)
    one = family == "cohere"
    other = block.input_layernorm if one else block.post_attention_layernorm
    expected = x + block.self_attn(block.input_layernorm(x), Layout()) + block.mlp(other(x))
    torch.testing.assert_close(block(x, Layout()), expected)
    assert hasattr(block, "post_attention_layernorm") is not one


@torch.no_grad()
def test_a_branch_is_scaled_before_it_is_added(make_config: Make) -> None:
    x = torch.randn(1, 5, 32)
    whole = _block(make_config("granite", attention_scale=0.4))
    scaled = _block(make_config("granite", attention_scale=0.4, residual_scale=0.25))
    attended = whole.self_attn(whole.input_layernorm(x), Layout())
    middle = x + 0.25 * attended
    expected = middle + 0.25 * whole.mlp(whole.post_attention_layernorm(middle))
    torch.testing.assert_close(scaled(x, Layout()), expected)


@torch.no_grad()
def test_a_layer_of_one_branch_has_one_norm_and_adds_to_the_bare_stream() -> None:
    config, x = hybrid("nemotron_h").config, torch.randn(1, 5, 32)
    mlp, mixer = Block(config, 1), Block(config, 3)
    assert [name for name, _ in mlp.named_children()] == ["mlp", "input_layernorm"]
    assert [name for name, _ in mixer.named_children()] == ["self_attn", "input_layernorm"]
    torch.testing.assert_close(mlp(x, Layout()), x + mlp.mlp(mlp.input_layernorm(x)))
    torch.testing.assert_close(mixer(x, Layout()), x + mixer.self_attn(mixer.input_layernorm(x), Layout()))


def test_layers_named_by_the_config_have_experts_and_the_others_an_mlp(make_config: Make) -> None:
    config = make_config("qwen3_moe", experts=EXPERTS)
    assert [isinstance(Block(config, layer).mlp, MixtureOfExperts) for layer in range(2)] == [False, True]
