"""The table of families against the classes of transformers that it describes."""

import itertools
from collections.abc import Callable
from dataclasses import fields
from types import ModuleType
from typing import Any

import pytest
import torch

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.families import FAMILIES, ROPE_KEYS
from llmkit.model.shapes import tensor_shapes

OTHERWISE = {"norm": ("rms", "layer"), "position": ("rope", "learned", "sinusoidal")}
"""Every value of the switches that are not true or false."""


def _combinations(family: str) -> list[dict[str, Any]]:
    switches = FAMILIES[family].switches
    found = [dict(zip(switches, values, strict=True)) for values in itertools.product(*switches.values())]
    return [one for one in found if family == "qwen2" or one["attention_bias"] == one["output_bias"]]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_class_named_is_the_one_that_transformers_takes(family: str, transformers: ModuleType) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    assert MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[family] == FAMILIES[family].architecture


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_has_the_same_tensors_for_every_combination_of_switches(
    family: str, transformers: ModuleType, make_config: Callable[..., ModelConfig]
) -> None:
    for switches, tied in itertools.product(_combinations(family), (False, True)):
        groups = {} if family == "gpt2" else {"num_key_value_heads": 2, "head_dim": 12}
        config = make_config(family, **switches, **groups, tie_word_embeddings=tied)
        theirs = transformers.AutoConfig.for_model(**config.to_hf())
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(theirs)
        expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        if tied:
            assert model.lm_head.weight is model.get_input_embeddings().weight
            del expected["lm_head.weight"]
        assert tensor_shapes(config) == expected


@pytest.mark.parametrize(
    ("family", "switch"), [(family, switch) for family in FAMILIES for switch in FAMILIES[family].switches]
)
def test_a_switch_set_as_the_family_has_it_not_is_refused_by_name(
    family: str, switch: str, make_config: Callable[..., ModelConfig]
) -> None:
    values = OTHERWISE.get(switch, (False, True))
    for value in set(values) - set(FAMILIES[family].switches[switch]):
        with pytest.raises(ConfigError, match=f"a {family} model has {switch} "):
            make_config(family, **{switch: value})


def test_every_switch_is_told_for_every_family() -> None:
    names = {one.name for one in fields(ModelConfig)}
    for family in FAMILIES.values():
        assert family.switches.keys() == FAMILIES["llama"].switches.keys() <= names


@pytest.mark.parametrize("family", FAMILIES)
def test_the_defaults_are_those_of_the_class(family: str, transformers: ModuleType) -> None:
    theirs = transformers.CONFIG_MAPPING[family]()
    ours, heads = FAMILIES[family], theirs.num_attention_heads
    share = theirs.hidden_size // heads
    assert ours.max_position_embeddings == theirs.max_position_embeddings
    assert (ours.num_key_value_heads or heads) == getattr(theirs, "num_key_value_heads", heads)
    assert (ours.head_dim or share) == getattr(theirs, "head_dim", share)


@pytest.mark.parametrize("kind", ROPE_KEYS)
def test_a_rope_type_needs_the_numbers_that_transformers_asks_for(
    kind: str, transformers: ModuleType, make_config: Callable[..., ModelConfig]
) -> None:
    numbers = dict(zip(ROPE_KEYS[kind], (2.0, 1.0, 4.0, 16), strict=False))
    make_config(rope_scaling={"rope_type": kind, **numbers})
    for name in numbers:
        scaling = {"rope_type": kind, **numbers, name: None}
        with pytest.raises(ConfigError, match="is not usable"):
            make_config(rope_scaling=scaling)
        if name == "original_max_position_embeddings":
            continue  # transformers takes the context for it
        del scaling[name]
        with pytest.raises(KeyError, match=name):
            transformers.LlamaConfig(rope_parameters={"rope_theta": 1e4, **scaling})
