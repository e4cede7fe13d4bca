"""Parameters of our own models by part: by hand, as transformers builds them, as tensors on disk multiply."""

from copy import deepcopy
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest

from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.file_tensors import tensor_shapes
from llmkit.formats.model_folder import read_config
from llmkit.model.config import ModelConfig
from llmkit.model.presets import PRESETS
from llmkit.model.reshape import reshape

GROUPED = ModelConfig(
    model_type="qwen3",
    vocab_size=10,
    hidden_size=6,
    intermediate_size=7,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    qk_norm="head",
)


def test_parts_are_those_worked_out_by_hand() -> None:
    assert architecture_of(GROUPED).by_part == {
        "embeddings": 60,
        "attention": 3 * (6 * 32 + 2 * 6 * 16 + 32 * 6),  # q, k and v, o
        "mlp": 3 * 3 * 6 * 7,  # gate, up, down
        "norms": 3 * (6 + 6 + 8 + 8) + 6,  # two a layer, query and key heads, the last
        "head": 60,
    }
    assert architecture_of(GROUPED).parameters == 60 + 60 + 1728 + 378 + 90


def test_biases_belong_to_their_matrices() -> None:
    base = ModelConfig(
        vocab_size=10, hidden_size=6, intermediate_size=7, num_hidden_layers=3, num_attention_heads=3
    )
    biased = replace(base, attention_bias=True, output_bias=True, mlp_bias=True)
    before, after = architecture_of(base).by_part, architecture_of(biased).by_part
    assert after["attention"] - before["attention"] == 3 * (6 + 6 + 6 + 6)  # q, k, v, o
    assert after["mlp"] - before["mlp"] == 3 * (7 + 7 + 6)  # gate, up, down
    assert sum(after.values()) - sum(before.values()) == 3 * (24 + 20)


def test_a_tied_head_is_no_parameter_of_its_own() -> None:
    tied = architecture_of(replace(GROUPED, tie_word_embeddings=True))
    assert "head" not in tied.by_part and tied.parameters == architecture_of(GROUPED).parameters - 60


def test_only_learned_positions_are_parameters() -> None:
    learned = architecture_of(PRESETS["gpt2"])
    assert learned.by_part["positions"] == 1024 * 768
    sinusoidal = architecture_of(replace(PRESETS["gpt2"], position="sinusoidal"))
    assert sinusoidal.parameters == learned.parameters - 1024 * 768


def test_the_table_of_sinusoids_is_on_disk_and_no_parameter() -> None:
    config = replace(PRESETS["gpt2"], position="sinusoidal")
    shapes = tensor_shapes(config)
    assert shapes.pop("transformer.wpe.weight") == (1024, 768)
    assert architecture_of(config).parameters == sum(map(prod, shapes.values()))


def test_a_token_uses_its_experts_and_everything_else() -> None:
    config = PRESETS["tiny-moe"]
    experts = config.experts
    assert experts is not None
    found = architecture_of(config)
    each = 3 * config.hidden_size * experts.intermediate_size  # gate, up, down
    idle = len(experts.layers) * (experts.num_experts - experts.num_experts_per_tok) * each
    assert found.parameters - found.active_parameters == idle > 0


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_the_parameters_that_transformers_counts(name: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = reshape(PRESETS[name], {"num_hidden_layers": 2})  # the other layers are like these
    foreign = AutoConfig.for_model(**deepcopy(config.to_hf()))  # it writes into rope_scaling
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(foreign)
    assert architecture_of(config).parameters == model.num_parameters()


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
    assert architecture_of(PRESETS[name]).parameters == published


@pytest.mark.parametrize(
    "folder",
    [
        *("Llama-2-7B", "Llama-2-70B", "Llama-3-8B", "Llama-3-70B", "Llama-3.1-8B", "Llama-3.1-70B"),
        *("Llama-3.2-1B-Instruct", "Mistral-7B-Instruct-v0.3", "Qwen2.5-7B-Instruct"),
        *("Qwen3-0.6B", "Qwen3-8B", "Qwen3-30B-A3B", "Mixtral-8x7B-v0.1", "DeepSeek-V3"),
    ],
)
def test_real_configs_keep_their_parameters_as_ours(shared_data: Path, folder: str) -> None:
    expected = read_config(shared_data / "configs" / "expected.json")[folder]
    content = read_config(shared_data / "configs" / folder)
    content.pop("quantization_config", None)  # DeepSeek's: of the weights, not of the shape
    found = architecture_of(ModelConfig.from_hf(content))
    assert found.parameters == expected["parameters"]
    assert found.active_parameters == expected.get("active_parameters", expected["parameters"])
    assert (
        found.by_part["embeddings"] + found.by_part.get("head", 0)
        == (expected["embedding_and_head_parameters"])
    )
