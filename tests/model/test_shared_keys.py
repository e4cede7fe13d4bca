"""Keys and values that layers share: left by one, read by those of its kind."""

import copy

import torch

from llmkit.model.attention import Attention
from llmkit.model.config import ModelConfig
from llmkit.model.layout import Layout
from llmkit.model.shared_keys import SharedKeys

CONFIG = ModelConfig.from_hf(
    {
        **{"model_type": "gemma4_text", "vocab_size": 9, "hidden_size": 6, "intermediate_size": 8},
        **{"num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4},
        **{"global_head_dim": 8, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 2},
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    }
)


@torch.no_grad()
def test_a_layer_without_keys_attends_to_those_that_were_left() -> None:
    owner, reader = Attention(CONFIG, 1), Attention(CONFIG, 3)
    assert reader.k_proj is reader.v_proj is reader.k_norm is None
    shared, x = SharedKeys(), torch.randn(1, 5, 6)
    layout = Layout(shared=shared)
    owner(x, layout)
    [left] = shared.texts
    assert left.keys.shape == (1, 1, 5, 8)
    reader.q_proj.weight.copy_(owner.q_proj.weight)
    reader.o_proj.weight.copy_(owner.o_proj.weight)
    # its own stream makes queries only: with the owner's matrices and stream it gives what the owner gave
    torch.testing.assert_close(reader(x, layout), owner(x, layout))
    assert not torch.allclose(reader(torch.randn(1, 5, 6), layout), owner(x, layout))


def test_a_copy_of_a_layout_has_the_same_place_for_keys() -> None:
    layout = Layout(shared=SharedKeys())
    assert copy.copy(layout).shared is layout.shared


def test_a_layer_whose_keys_nobody_reads_leaves_none() -> None:
    kept = ModelConfig.from_hf({**CONFIG.to_hf(), "num_kv_shared_layers": 0})
    assert not Attention(kept, 1).shares_keys and Attention(CONFIG, 1).shares_keys
