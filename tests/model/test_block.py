"""A block is two branches, each normalised before and added after."""

from collections.abc import Callable

import pytest
import torch

from llmkit.model.attention import Layout
from llmkit.model.block import Block
from llmkit.model.config import ModelConfig
from llmkit.model.norm import RMSNorm

Make = Callable[..., ModelConfig]


def _block(config: ModelConfig) -> Block:
    torch.manual_seed(0)
    block = Block(config)
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
