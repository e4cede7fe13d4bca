"""Released shapes: they have their published sizes, and are the configs that were released."""

import json
import math
from pathlib import Path

import pytest

from llmkit.estimate.file_tensors import tensor_shapes
from llmkit.model.config import ModelConfig
from llmkit.model.released import RELEASED

PUBLISHED = {
    "stories15m": 15_191_712,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "smollm2-135m": 134_515_008,
    "qwen3-0.6b": 596_049_920,
    "tinyllama-1.1b": 1_100_048_384,
    "llama-3.2-1b": 1_235_814_400,
    "llama-2-7b": 6_738_415_616,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "mistral-7b-v0.3": 7_248_023_552,
    "qwen3-8b": 8_190_735_360,
}
PUBLISHED_BESIDE_SIZES = {  # heads, key/value heads, context, rope_theta, eps
    "stories15m": (6, 6, 256, 1e4, 1e-5),
    "gpt2": (12, 12, 1024, None, 1e-5),
    "gpt2-medium": (16, 16, 1024, None, 1e-5),
    "gpt2-large": (20, 20, 1024, None, 1e-5),
    "gpt2-xl": (25, 25, 1024, None, 1e-5),
    "smollm2-135m": (9, 3, 8192, 1e5, 1e-5),
    "qwen3-0.6b": (16, 8, 40_960, 1e6, 1e-6),
    "tinyllama-1.1b": (32, 4, 2048, 1e4, 1e-5),
    "llama-3.2-1b": (32, 8, 131_072, 5e5, 1e-5),
    "llama-2-7b": (32, 32, 4096, 1e4, 1e-5),
    "llama-3.1-8b": (32, 8, 131_072, 5e5, 1e-5),
    "llama-3.1-70b": (64, 8, 131_072, 5e5, 1e-5),
    "mistral-7b-v0.3": (32, 8, 32_768, 1e6, 1e-5),
    "qwen3-8b": (32, 8, 40_960, 1e6, 1e-6),
}


def test_every_released_shape_has_its_published_numbers_here() -> None:
    assert set(PUBLISHED) == set(PUBLISHED_BESIDE_SIZES) == set(RELEASED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_well_known_preset_has_its_published_number_of_parameters(name: str) -> None:
    assert sum(math.prod(shape) for shape in tensor_shapes(RELEASED[name]).values()) == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED_BESIDE_SIZES)
def test_a_well_known_preset_has_its_published_heads_context_and_constants(name: str) -> None:
    heads, shared, context, theta, eps = PUBLISHED_BESIDE_SIZES[name]
    config = RELEASED[name]
    assert (config.num_attention_heads, config.num_key_value_heads) == (heads, shared)
    assert (config.max_position_embeddings, config.norm_eps) == (context, eps)
    assert (config.rope_theta if config.position == "rope" else None) == theta


@pytest.mark.parametrize(
    ("name", "released", "differing"),
    [
        ("qwen3-0.6b", "Qwen3-0.6B", set()),
        ("llama-3.2-1b", "Llama-3.2-1B-Instruct", {"eos_token_id"}),  # an Instruct model ends in more ways
        ("llama-2-7b", "Llama-2-7B", {"max_position_embeddings", "pad_token_id"}),  # its training copy
        ("llama-3.1-8b", "Llama-3.1-8B", set()),
        ("llama-3.1-70b", "Llama-3.1-70B", set()),
        ("mistral-7b-v0.3", "Mistral-7B-Instruct-v0.3", set()),
        ("qwen3-8b", "Qwen3-8B", set()),
    ],
)
def test_a_preset_is_the_config_that_was_released(
    shared_data: Path, name: str, released: str, differing: set[str]
) -> None:
    raw = json.loads((shared_data / "configs" / released / "config.json").read_text())
    expected, ours = vars(ModelConfig.from_hf(raw)), vars(RELEASED[name])
    assert {key for key in ours if ours[key] != expected[key]} == differing
