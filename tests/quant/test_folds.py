"""Columns scaled and the inverse put into what is before them: the model must stay what it is."""

from typing import Any

import pytest
import torch

from llmkit.model.transformer import Transformer
from llmkit.quant.folds import folds_of
from tests.quant.small_models import config, experts, model, sparse_nemotron

IDS = torch.randint(96, (2, 24), generator=torch.Generator().manual_seed(1))
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"model_type": "qwen2", "attention_bias": True},
    "gemma": {
        **{"model_type": "gemma", "norm_plus_one": True, "embedding_scale": 16.0, "hidden_act": "gelu_new"},
        "tie_word_embeddings": True,
    },
    "qwen3_moe": {"model_type": "qwen3_moe", "qk_norm": "head", "experts": experts()},
}
ONE_BRANCH = {0: [], 1: [*["down_proj"] * 5, "gate"], 2: ["o_proj", "q_proj"]}
"""The same by layer: Mamba-2, experts and a shared one, attention."""
READERS = {
    "llama": ["o_proj", "down_proj", "q_proj", "gate_proj"],
    "qwen2": ["o_proj", "down_proj", "q_proj", "gate_proj"],
    "gemma": ["o_proj", "down_proj", "q_proj", "gate_proj"],
    "qwen3_moe": ["o_proj", *["down_proj"] * 4, "q_proj", "gate"],
}


def fold_everything(made: Transformer, seed: int = 3) -> int:
    """Every fold of every layer, by random scales; how many there were."""
    generator, count = torch.Generator().manual_seed(seed), 0
    for layer in made.model.layers:
        for fold in folds_of(layer, made.config):
            parameters = dict(layer.named_parameters())
            columns = parameters[fold.readers[0].partition("[")[0]].shape[-1]
            scale = fold.shared(torch.rand(columns, generator=generator) * 3 + 0.3)
            fold.apply(layer, scale)
            count += 1
    return count


@pytest.mark.parametrize("kind", KINDS)
def test_logits_stay_where_columns_are_scaled_and_rows_or_norms_take_the_inverse(kind: str) -> None:
    made = model(**KINDS[kind])
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(0, 0.1, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        before = made.double()(IDS)
        count = fold_everything(made)
        after = made(IDS)
    assert count == made.config.num_hidden_layers * len(READERS[kind])
    assert torch.allclose(before, after, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_matrices_with_one_input_are_one_set(kind: str) -> None:
    made = model(**KINDS[kind])
    folds = folds_of(made.model.layers[1], made.config)
    assert [
        fold.readers[0].removesuffix(".weight").split(".")[-1].split("[")[0] for fold in folds
    ] == READERS[kind]


def test_a_layer_that_is_one_branch_has_the_folds_of_it() -> None:
    made = model(**sparse_nemotron())
    for layer, readers in ONE_BRANCH.items():
        folds = folds_of(made.model.layers[layer], made.config)
        names = (fold.readers[0].removesuffix(".weight").split(".")[-1] for fold in folds)
        assert [name.partition("[")[0] for name in names] == readers
    with torch.inference_mode():
        before = made.double()(IDS)
        assert fold_everything(made) == 8
        assert torch.allclose(before, made(IDS), atol=1e-5)


def test_heads_that_read_the_same_values_have_one_scale() -> None:
    fold = folds_of(model().model.layers[0], config())[0]
    shared = fold.shared(torch.arange(256.0))
    by_head = shared.view(2, 2, 64)  # two key heads, each read by two query heads
    assert torch.equal(by_head[:, 0], by_head[:, 1])
    assert shared[0] == (0 + 64) / 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_settled_scale_is_exact_for_the_norm_as_it_is_stored(dtype: torch.dtype) -> None:
    made = model(num_hidden_layers=1)
    layer = made.model.layers[0]
    norm = layer.get_submodule("input_layernorm").weight.data
    norm.uniform_(0.3, 2)
    norm[5] = 0
    before = norm.clone()
    fold = next(one for one in folds_of(layer, made.config) if one.norm == "input_layernorm")
    scale = fold.settled(layer, torch.rand(256) + 0.5, dtype)
    assert scale[5] == 1
    fold.apply(layer, scale)
    stored = norm.to(dtype).float()
    assert torch.allclose(norm, stored, rtol=1e-6)
    assert torch.allclose(stored * scale, before, rtol=1e-6)
