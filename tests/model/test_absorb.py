"""Multipliers in the weights: the same model, with nothing for which a file has no key."""

from pathlib import Path
from typing import Any

import pytest
import torch
from family_models import FALCON_H1 as MULTIPLIED
from gguf_models import FALCON_H1, TIED, case_config, random_model
from llama_cpp import llama_cpp_logits

from llmkit.errors import ConfigError
from llmkit.formats.gguf.write import write_gguf
from llmkit.model.absorb import absorbed
from llmkit.model.config_states import MultipliersConfig
from llmkit.model.gguf.save import gguf_model
from llmkit.model.transformer import Transformer

IDS = torch.randint(3, 96, (40,), generator=torch.Generator().manual_seed(1)).tolist()
CHANGES: dict[str, Any] = {key: one for key, one in MULTIPLIED.items() if "multiplier" in key} | FALCON_H1


def logits(model: Transformer) -> torch.Tensor:
    """Of IDS, (T, V)."""
    with torch.inference_mode():
        return model(torch.tensor([IDS]))[0]


@pytest.mark.parametrize("other", [{}, TIED, {**TIED, "lm_head_multiplier": 3.0}], ids=["", "tied", "alike"])
def test_the_same_is_computed_without_multipliers(other: dict[str, Any]) -> None:
    model = random_model(case_config("falcon_h1", CHANGES | other))
    made = absorbed(model)
    config = made.config
    assert config.multipliers == MultipliersConfig() and config.embedding_scale == config.logit_scale == 1.0
    assert config.tie_word_embeddings == (other.get("lm_head_multiplier") == 3.0)
    scores = logits(model)
    assert (logits(made) - scores).abs().max() < 2e-5 * scores.std()


def test_it_can_be_planned_without_memory() -> None:
    with torch.device("meta"):
        made = absorbed(Transformer(case_config("falcon_h1", CHANGES)))
    assert all(tensor.is_meta for tensor in made.state_dict().values())


def test_models_that_multiply_with_nothing_are_left_as_they_are() -> None:
    for family, changes in (("falcon_h1", FALCON_H1), ("llama", {})):
        model = random_model(case_config(family, changes))
        assert absorbed(model) is model


def test_llama_cpp_computes_what_was_absorbed_and_the_rest_is_refused(tmp_path: Path) -> None:
    model = random_model(case_config("falcon_h1", CHANGES))
    with pytest.raises(ConfigError, match="no keys for what falcon_h1 multiplies with"):
        gguf_model(model, "float32")
    made = gguf_model(absorbed(model), "float32")
    with (tmp_path / "a.gguf").open("wb") as stream:
        write_gguf(stream, {**made.metadata, "tokenizer.ggml.model": "none"}, made.tensors)
    theirs, ours = torch.tensor(llama_cpp_logits(tmp_path / "a.gguf", IDS)), logits(model)
    assert (ours - theirs).abs().max() < 5e-4 * ours.std()
