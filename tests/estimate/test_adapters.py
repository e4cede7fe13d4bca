"""Adapters: numbers that PEFT and others print for models that many people have tuned."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from llmkit.errors import ConfigError
from llmkit.estimate.adapters import adapted_tensors, lora_parameters
from llmkit.estimate.architecture import Architecture, TensorSpec
from llmkit.estimate.read_architecture import read_architecture
from llmkit.formats.model_folder import read_config


def test_well_known_adapters_have_their_published_numbers(
    llama_2_7b: Architecture, llama_3_8b: Architecture
) -> None:
    assert lora_parameters(llama_2_7b, 8, ("q_proj", "v_proj")) == 4_194_304
    assert lora_parameters(llama_2_7b, 64) == 159_907_840
    assert lora_parameters(llama_3_8b, 16) == 41_943_040


@pytest.mark.parametrize(
    ("folder", "published"),
    [
        *(("Llama-3.2-1B-Instruct", 11_272_192), ("Qwen2.5-7B-Instruct", 40_370_176)),
        *(("gemma-2-9b-it", 54_018_048), ("Mistral-7B-Instruct-v0.3", 41_943_040)),
    ],
)
def test_real_configs_have_the_adapters_that_unsloth_prints(
    shared_data: Path, folder: str, published: int
) -> None:
    config = read_config(shared_data / "configs" / folder)
    assert lora_parameters(read_architecture(config), 16) == published


def test_experts_have_one_each_and_the_router_has_none(llama_2_7b: Architecture) -> None:
    def tensor(name: str, *shape: int, copies: int = 1) -> TensorSpec:
        part = "router" if name == "router" else "experts"
        return TensorSpec(name=name, shape=shape, part=part, module=name, linear=True, layer=0, copies=copies)

    fields = {"hidden_size": 4, "num_hidden_layers": 1}
    listed = replace(
        llama_2_7b, tensors=(tensor("up_proj", 6, 4, copies=8), tensor("router", 8, 4)), **fields
    )
    stacked = replace(llama_2_7b, tensors=(tensor("up_proj", 8, 6, 4),), **fields)
    turned = replace(llama_2_7b, tensors=(tensor("up_proj", 8, 4, 6),), **fields)
    for model in (listed, stacked, turned):
        assert lora_parameters(model, 3) == 8 * 3 * (6 + 4)


def test_neither_head_nor_embeddings_get_one(llama_2_7b: Architecture) -> None:
    assert {tensor.module for tensor in adapted_tensors(llama_2_7b)} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    }
    with pytest.raises(ConfigError, match="no matrix 'lm_head'"):
        adapted_tensors(llama_2_7b, ("lm_head",))


def test_a_rank_below_1_is_an_error(llama_2_7b: Architecture) -> None:
    with pytest.raises(ConfigError, match="lora_rank is not at least 1"):
        lora_parameters(llama_2_7b, 0)
