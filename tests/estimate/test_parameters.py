"""Parameters by part: by hand, as transformers builds the model, and as the tensors on disk multiply."""

from dataclasses import replace
from math import prod
from pathlib import Path

import pytest

from llmkit.estimate.parameters import count_parameters
from llmkit.formats.model_folder import read_config
from llmkit.model.config import ModelConfig
from llmkit.model.presets import PRESETS
from llmkit.model.shapes import tensor_shapes

GROUPED = ModelConfig(
    model_type="qwen3",
    vocab_size=10,
    hidden_size=6,
    intermediate_size=7,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    qk_norm=True,
)


def test_parts_are_those_worked_out_by_hand() -> None:
    parts = count_parameters(GROUPED)
    assert (parts.embeddings, parts.head, parts.positions) == (60, 60, 0)
    assert parts.attention == 3 * (6 * 32 + 2 * 6 * 16 + 32 * 6)  # q, k and v, o
    assert parts.mlp == 3 * 3 * 6 * 7  # gate, up, down
    assert parts.norms == 3 * (6 + 6 + 8 + 8) + 6  # two a layer, query and key heads, the last
    assert parts.total == 60 + 60 + 1728 + 378 + 90


def test_biases_belong_to_their_matrices() -> None:
    base = ModelConfig(
        vocab_size=10, hidden_size=6, intermediate_size=7, num_hidden_layers=3, num_attention_heads=3
    )
    biased = replace(base, attention_bias=True, output_bias=True, mlp_bias=True)
    before, after = count_parameters(base), count_parameters(biased)
    assert after.attention - before.attention == 3 * (6 + 6 + 6 + 6)  # q, k, v, o
    assert after.mlp - before.mlp == 3 * (7 + 7 + 6)  # gate, up, down
    assert after.total - before.total == 3 * (24 + 20)


def test_a_tied_head_is_no_parameter_of_its_own() -> None:
    tied = count_parameters(replace(GROUPED, tie_word_embeddings=True))
    assert tied.head == 0 and tied.total == count_parameters(GROUPED).total - 60


def test_only_learned_positions_are_parameters() -> None:
    gpt2 = PRESETS["gpt2"]
    assert count_parameters(gpt2).positions == 1024 * 768
    sinusoidal = replace(gpt2, position="sinusoidal")
    assert count_parameters(sinusoidal).total == count_parameters(gpt2).total - 1024 * 768


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_the_parameters_that_transformers_counts(name: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = replace(PRESETS[name], num_hidden_layers=2)  # the other layers are like these
    foreign = AutoConfig.for_model(**config.to_hf())
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(foreign)
    assert count_parameters(config).total == model.num_parameters()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_the_parameters_of_its_tensors_on_disk(name: str) -> None:
    shapes = tensor_shapes(PRESETS[name])
    assert count_parameters(PRESETS[name]).total == sum(map(prod, shapes.values()))


def test_the_table_of_sinusoids_is_on_disk_and_no_parameter() -> None:
    config = replace(PRESETS["gpt2"], position="sinusoidal")
    shapes = tensor_shapes(config)
    table = shapes.pop("transformer.wpe.weight")
    assert table == (1024, 768)
    assert count_parameters(config).total == sum(map(prod, shapes.values()))


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("gpt2", 124_439_808),
        ("smollm2-135m", 134_515_008),
        ("qwen3-0.6b", 596_049_920),
        ("llama-3.2-1b", 1_235_814_400),
        ("llama-2-7b", 6_738_415_616),
    ],
)
def test_well_known_presets_have_the_published_parameters(name: str, published: int) -> None:
    assert count_parameters(PRESETS[name]).total == published


@pytest.mark.parametrize(
    "folder",
    [
        *("Llama-2-7B", "Llama-2-70B", "Llama-3-8B", "Llama-3-70B", "Llama-3.1-8B", "Llama-3.1-70B"),
        *("Llama-3.2-1B-Instruct", "Mistral-7B-Instruct-v0.3", "Qwen2.5-7B-Instruct"),
        *("Qwen3-0.6B", "Qwen3-8B"),
    ],
)
def test_real_configs_have_the_published_parameters(shared_data: Path, folder: str) -> None:
    expected = read_config(shared_data / "configs" / "expected.json")[folder]
    config = ModelConfig.from_hf(read_config(shared_data / "configs" / folder))
    parts = count_parameters(config)
    assert parts.total == expected["parameters"]
    assert parts.embeddings + parts.head == expected["embedding_and_head_parameters"]
