"""Matrices cut by heads and columns."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from runs import Run, config_of

from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.divided import Divided
from llmkit.train.parallel.ranks import MeshRanks
from llmkit.train.parallel.tensors import local

SHAPES = {
    "llama": Run(shape={"model_type": "llama"}),
    "qwen3": Run(shape={"model_type": "qwen3", "tie_word_embeddings": False}),
    "gpt2": Run(name="gpt2", shape={"num_key_value_heads": 4}),
}


def cut(run: Run) -> tuple[Any, Any, dict[str, tuple[int, ...]]]:
    model = Transformer(config_of(run))
    initialise(model, torch.Generator().manual_seed(1))
    ids = torch.arange(32).view(2, 16)
    with torch.no_grad():
        expected = model(ids)
        divided = Divided(model, MeshRanks(Degrees(tp=2), torch.device("cpu")))
        found = divided.model(ids)
    shapes = {name: tuple(local(one).shape) for name, one in model.named_parameters()}
    return found.numpy(), expected.numpy(), shapes


def test_a_model_that_is_cut_scores_as_a_whole_one(on_ranks: Callable[..., Any]) -> None:
    for run in SHAPES.values():
        for found, expected, _ in on_ranks(2, cut, run):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_heads_columns_and_the_vocabulary_are_cut(on_ranks: Callable[..., Any]) -> None:
    _, _, shapes = on_ranks(2, cut, SHAPES["qwen3"])[1]
    layer = {name.removeprefix("model.layers.1."): shape for name, shape in shapes.items()}
    assert layer["self_attn.q_proj.weight"] == (16, 32)
    assert layer["self_attn.k_proj.weight"] == (8, 32)
    assert layer["self_attn.o_proj.weight"] == (32, 16)
    assert layer["mlp.gate_proj.weight"] == (32, 32)
    assert layer["mlp.down_proj.weight"] == (32, 32)
    assert layer["input_layernorm.weight"] == (32,)
    assert shapes["model.embed_tokens.weight"] == shapes["lm_head.weight"] == (32, 32)
