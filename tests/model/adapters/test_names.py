"""Names of what can be adapted, against the modules of transformers' own models."""

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import nn

from llmkit.model.adapters.names import ends_by_value, peft_modules, shortest_ends
from llmkit.model.config import ModelConfig
from tests.model.recurrent.conftest import hybrid

FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "olmo2", "phi3", "gpt2", "gpt_neox", "cohere", "mixtral")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_matrix_of_transformers_has_its_module_here(
    family: str, make_config: Callable[..., ModelConfig], transformers: ModuleType
) -> None:
    config = make_config(family)
    settings = config.to_hf()
    with torch.device("meta"):
        theirs = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(**{key: one for key, one in settings.items()})
        )
    kinds = (nn.Linear, nn.Embedding, transformers.pytorch_utils.Conv1D)
    expected = {
        name: tuple(one.weight.shape) for name, one in theirs.named_modules() if isinstance(one, kinds)
    }
    found = {
        module.name: (sum(module.rows), module.columns)[:: -1 if module.is_turned else 1]
        for module in peft_modules(config)
    }
    assert found == expected


def test_modules_of_nemotron_h_have_the_names_of_transformers_and_of_its_own_class(
    transformers: ModuleType,
) -> None:
    config = hybrid("nemotron_h").config
    with torch.device("meta"):
        theirs = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(**config.to_hf())
        )
    kinds = (nn.Linear, nn.Embedding)
    modules = {module.name: module for module in peft_modules(config)}
    assert set(modules) == {name for name, one in theirs.named_modules() if isinstance(one, kinds)}
    assert "backbone.layers.0.mixer.in_proj" in modules["model.layers.0.mixer.in_proj"].aliases


def test_rows_are_split_and_joined_without_a_change(make_config: Callable[..., ModelConfig]) -> None:
    for family in ("gpt2", "phi3", "gpt_neox"):
        config = make_config(family)
        module = next(one for one in peft_modules(config) if "model.layers.1.self_attn.k_proj" in one.ours)
        tensor = torch.arange(96.0 * 3).view(96, 3)
        parts = module.split(tensor)
        assert len(parts) == 3 and torch.equal(module.join(parts), tensor)
        first_key_row = 8 if family == "gpt_neox" else 32  # a head of 8: q, k, v of the head in turn
        assert torch.equal(parts[1][0], tensor[first_key_row])


def test_the_shortest_ends_match_the_chosen_and_nothing_else() -> None:
    names = [f"h.{layer}.{end}" for layer in (0, 1) for end in ("attn.c_proj", "mlp.c_proj", "attn.c_attn")]
    assert shortest_ends(names, []) == ["c_attn", "c_proj"]
    chosen = [name for name in names if "attn" in name]
    assert shortest_ends(chosen, set(names) - set(chosen)) == ["attn.c_proj", "c_attn"]
    assert shortest_ends(names[:1], names[1:]) == ["h.0.attn.c_proj"]


def test_values_that_differ_from_the_default_have_patterns() -> None:
    values = {"h.0.q": 4, "h.1.q": 4, "h.0.k": 8, "h.1.k": 8, "h.0.v": 4, "h.1.v": 2}
    assert ends_by_value(values, 4) == {"k": 8, "h.1.v": 2}
