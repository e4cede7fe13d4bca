"""Kinds of tensors that keys and values are kept in."""

from typing import Any

import pytest
import torch
from gguf_models import LATENT, case_config

from llmkit.engine.block_store import BlockKind, block_kinds
from llmkit.engine.native.store import NativeStore
from llmkit.engine.store import KVStore
from llmkit.errors import ConfigError
from llmkit.kernels.library import available, why_not
from tests.model.recurrent.conftest import hybrid

SHAPE: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}


def test_a_layer_has_keys_and_values_and_with_int8_a_scale_of_each_head() -> None:
    config = case_config("llama", SHAPE)
    assert block_kinds(config, "bfloat16")[:2] == [
        BlockKind(0, 0, "bfloat16", (2, 16)),
        BlockKind(0, 1, "bfloat16", (2, 16)),
    ]
    kinds = block_kinds(config, "int8")
    assert [(one.dtype, one.shape) for one in kinds[:4]] == [("int8", (2, 16))] * 2 + [("float32", (2,))] * 2
    assert len(kinds) == 4 * config.num_hidden_layers and kinds[-1].layer == config.num_hidden_layers - 1
    assert sum(one.position_bytes for one in kinds[:4]) == 2 * 2 * (16 + 4)


def test_a_block_of_no_layers_has_nothing() -> None:
    assert block_kinds(hybrid("lfm2").config, "float32", 0) == []


def test_latents_are_one_row_and_have_no_heads_to_round() -> None:
    config = case_config("deepseek_v2", LATENT)
    assert config.latent is not None
    width = config.latent.kv_lora_rank + config.latent.qk_rope_head_dim
    assert block_kinds(config, "float32")[0] == BlockKind(0, 0, "float32", (width,))
    with pytest.raises(ConfigError, match="an int8 cache holds keys and values of heads"):
        block_kinds(config, "int8")


@pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_a_block_of_one_store_fits_into_the_other(dtype: str) -> None:
    config = case_config("llama", SHAPE)
    ours = NativeStore(config, 3, 4, dtype)
    theirs = KVStore(config, 5, 4, getattr(torch, dtype))
    assert ours.kinds == theirs.kinds and ours.nbytes * 5 == theirs.nbytes * 3
    for number, tensor in enumerate(theirs.by_block):
        tensor[4] = number + 1
        ours.write_block(number, 2, theirs.read_block(number, 4))
        theirs.write_block(number, 0, ours.read_block(number, 2))
        assert torch.equal(tensor[0], tensor[4])
    assert not any(one[:8].any() for one in ours.arrays)
